"""Ways to break the bank: each one line or two of its code, changed so that it does not keep its word any more."""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    breaks: str
    """What is wrong with the bank then."""
    file: str
    old: str
    """Stands in the file exactly once."""
    new: str
    tests: str
    """What must notice: arguments of pytest."""


_SQLITE = "openbank/eventstore/sqlite"
_VIEWS = "openbank/views/sqlite"
_ESDB = "openbank/eventstore/eventstoredb"
_STORE = "tests/eventstore/test_sqlite.py"
_FILES = "tests/eventstore/test_sqlite_files.py"
_BACKUP = "tests/eventstore/test_sqlite_backup.py"
_POWER = "tests/disk/test_power.py"

MUTATIONS = (
    # Durable
    Mutation(
        "the WAL is not synced",
        f"{_SQLITE}/wal.py",
        "        os.fdatasync(self._file)\n",
        "        os.fstat(self._file)\n",
        _POWER,
    ),
    Mutation(
        "an append is acknowledged before it is synced",
        f"{_SQLITE}/store.py",
        "        outcomes = self._writer.commit(batch)\n",
        "        outcomes = self._writer.commit(batch)\n        _settle(batch, outcomes)\n"
        "        batch = [append._replace(done=asyncio.Future()) for append in batch]\n",
        _POWER,
    ),
    Mutation(
        "what is committed is shown before it is synced",
        f"{_SQLITE}/store.py",
        "        outcomes = self._writer.commit(batch)\n",
        "        outcomes = self._writer.commit(batch)\n"
        "        for subscriber in self._subscribers:\n"
        "            subscriber.push([event for o in outcomes if isinstance(o, Written) for event in o.events])\n",
        _POWER,
    ),
    Mutation(
        "reads see what is not synced",
        f"{_SQLITE}/store.py",
        "some = self._reader.stream(stream, after, step, self._head.position)",
        "some = self._reader.stream(stream, after, step, 1 << 60)",
        f"{_STORE}::test_what_is_committed_is_neither_acknowledged_nor_shown_before_it_is_synced",
    ),
    Mutation(
        "a sync that failed is passed over",
        f"{_SQLITE}/store.py",
        "                outcomes = [OutcomeUnknown(str(error)) for _ in batch]\n",
        "                str(error)\n",
        f"{_STORE}::test_a_sync_that_fails_ends_the_store_and_acknowledges_nothing",
    ),
    Mutation(
        "a process goes on after a sync that failed",
        f"{_SQLITE}/wal.py",
        "    os._exit(EXIT_SYNC_FAILED)\n",
        "",
        "tests/disk/test_faults.py::test_a_sync_that_fails_is_no_acknowledgement",
    ),
    Mutation(
        "what was left in the WAL is not made durable at the start",
        f"{_SQLITE}/schema.py",
        '        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()\n',
        "        busy = True\n",
        f"{_STORE}::test_all_that_was_acknowledged_is_there_after_a_kill_and_is_synced_before_it_is_shown",
    ),
    Mutation(
        "the entry of a new data directory is not synced",
        "openbank/datadir.py",
        "            sync(place.parent)\n",
        "            place.exists()\n",
        _POWER,
    ),
    Mutation(
        "an aggregate's answers rest on appends that failed",
        "openbank/eventstore/aggregate.py",
        "if outcome.events], error)\n            return False\n",
        "if outcome.events], error)\n            _answer(batch, decided)\n            return False\n",
        "tests/eventstore/test_aggregate.py",
    ),
    Mutation(
        "a failed transaction is not rolled back",
        f"{_SQLITE}/writer.py",
        '                self._connection.execute("ROLLBACK")\n',
        '                self._connection.execute("COMMIT")\n',
        f"{_STORE}::test_a_failed_commit_is_told_to_all_of_it_and_the_next_is_made",
    ),
    # Exact
    Mutation(
        "the embedded store does not check the expected revision",
        f"{_SQLITE}/writer.py",
        "        if append.expected != revision:\n",
        "        if append.expected > revision:\n",
        f"{_STORE}::TestConformance",
    ),
    Mutation(
        "another writer's events are taken for a repeated append",
        f"{_SQLITE}/writer.py",
        "        if [row[1] for row in rows] != [event.id for event in append.events]:\n",
        "        if len(rows) != len(append.events):\n",
        f"{_STORE}::TestConformance",
    ),
    Mutation(
        "a request id is not looked for",
        "openbank/eventstore/deciding.py",
        "(known.get(request.id) or made.get(request.id)) if request.id else None",
        "None",
        "tests/commands",
    ),
    Mutation(
        "a request id is not looked for among those that wait for the same append",
        "openbank/eventstore/deciding.py",
        "            made[request.id] = Known(request.hash, tip.revision)\n",
        "            pass\n",
        "tests/eventstore/test_aggregate.py tests/commands",
    ),
    Mutation(
        "request ids are not asked of the store",
        "openbank/eventstore/aggregate.py",
        "        if not ids or not tip.revision:\n",
        "        if not ids or tip.revision:\n",
        "tests/eventstore/test_aggregate.py",
    ),
    Mutation(
        "another request may have a known request id",
        "openbank/eventstore/deciding.py",
        "    if earlier:\n        raise RequestIdReused\n",
        "",
        "tests/commands",
    ),
    Mutation(
        "a replay's fields are checked by today's rules",
        "openbank/eventstore/deciding.py",
        "    if earlier and request.repeats(earlier.hash):\n",
        "    request.check(now.state if now else None)\n    if earlier and request.repeats(earlier.hash):\n",
        "tests/stories/test_replays.py",
    ),
    Mutation(
        "a request is another one where its currency has other decimals now",
        "openbank/domain/request.py",
        "        return hash == self.hash or hash in self.other_hashes()\n",
        "        return hash == self.hash\n",
        "tests/stories/test_replays.py",
    ),
    Mutation(
        "the caller's expected revision is not checked",
        "openbank/eventstore/deciding.py",
        "now and now.revision != request.expected_revision:",
        "now and now.revision < request.expected_revision:",
        "tests/commands tests/eventstore/test_aggregate.py",
    ),
    Mutation(
        "a deposit counts twice",
        "openbank/domain/account.py",
        "    balance = account.balance.plus(amount)\n",
        "    balance = account.balance.plus(amount).plus(amount)\n",
        "tests/domain",
    ),
    Mutation(
        "more can be withdrawn than there is",
        "openbank/domain/account.py",
        "    if amount.minor > account.available.minor:\n",
        "    if amount.minor > account.available.minor + 1:\n",
        "tests/domain",
    ),
    Mutation(
        "a number is reserved whoever has it",
        "openbank/commands/numbers.py",
        "    if await took_its_number(bank, current.state):\n",
        "    if not await took_its_number(bank, current.state):\n",
        "tests/commands",
    ),
    Mutation(
        "a reservation that nobody has finished keeps its number",
        "openbank/commands/numbers.py",
        "        opened = (await finish(bank, reserved)).resource.state\n",
        "        opened = reserved.command\n",
        "tests/commands",
    ),
    Mutation(
        "the request is not claimed before the number",
        "openbank/commands/accounts.py",
        "    if known:\n        await claim(bank, request,",
        "    if not known:\n        await claim(bank, request,",
        "tests/commands",
    ),
    Mutation(
        "the owner is not asked for",
        "openbank/commands/accounts.py",
        "    if await bank.persons.load(command.owner_id) is None:\n        raise OwnerNotFound(command.owner_id)\n",
        "",
        "tests/commands",
    ),
    Mutation(
        "an append to EventStoreDB takes whatever is there",
        f"{_ESDB}/appends.py",
        "        options.stream_position = expected - 1\n",
        "        options.any.SetInParent()\n",
        "tests/eventstore/test_eventstoredb.py",
    ),
    Mutation(
        "an append to EventStoreDB whose answer is lost is said not to be there",
        f"{_ESDB}/appends.py",
        "        except _AnswerLost:\n            return await self._settle(request, find, until)\n",
        '        except _AnswerLost as error:\n            raise StoreUnavailable("lost") from error\n',
        "tests/eventstore/test_eventstoredb_faults.py",
    ),
    Mutation(
        "another instance's events are taken for those of an append to EventStoreDB",
        f"{_ESDB}/appends.py",
        "        position = await find()\n        if position is None:\n            raise WrongExpectedRevision",
        "        position = await find() or 1\n        if position is None:\n            raise WrongExpectedRevision",
        "tests/eventstore/test_eventstoredb.py",
    ),
    Mutation(
        "what is known of a stream's requests is looked at on both sides of a read",
        f"{_ESDB}/requests.py",
        "*await self._between(stream, after, through, wanted)]",
        "*await self._between(stream, ids.through, through, wanted)]",
        "tests/eventstore/test_eventstoredb_faults.py",
    ),
    Mutation(
        "a command is carried out whose caller gave up before it was decided",
        "openbank/eventstore/aggregate.py",
        "            batch = _still_there(batch)\n            decided",
        "            decided",
        "tests/eventstore/test_aggregate.py",
    ),
    # Whole
    Mutation(
        "a damaged event is shown",
        f"{_SQLITE}/rows.py",
        "        if checksum(event) == stored:\n",
        "        if checksum(event) or stored:\n",
        f"{_STORE}::test_an_event_that_was_changed_is_told",
    ),
    Mutation(
        "a log that ends before its last stop is served",
        f"{_SQLITE}/check.py",
        "        if mark.position > self._end:\n",
        "        if mark.position > self._end + 100:\n",
        "tests/eventstore/test_sqlite_check.py",
    ),
    Mutation(
        "views that are ahead of a log that has lost events are rebuilt without a word",
        "openbank/views/projector.py",
        "    elif store.copies_differ:\n",
        "    elif store.copies_differ and not store.bank_id:\n",
        "tests/eventstore/test_sqlite_check.py",
    ),
    Mutation(
        "a backup is taken for the log that it was made of",
        f"{_SQLITE}/backup.py",
        "        copy.execute(\"UPDATE meta SET value = ? WHERE name = 'store_id'\", (secrets.token_hex(16),))\n",
        "",
        "tests/eventstore/test_sqlite_check.py",
    ),
    Mutation(
        "the WAL of another log is replayed",
        f"{_SQLITE}/check.py",
        "    check_wal(path)\n",
        "",
        f"{_FILES}::test_a_backup_over_a_crashed_log_is_not_ruined_by_its_wal",
    ),
    Mutation(
        "the database does not get the epoch of its WAL before events do",
        f"{_SQLITE}/schema.py",
        "            epoch.settle(path, begun)\n",
        "            pass\n",
        f"{_FILES}::test_a_raw_copy_from_before_the_last_start_is_not_ruined_either",
    ),
    Mutation(
        "a start that is killed has a WAL of another epoch",
        f"{_SQLITE}/epoch.py",
        "    _note(path, list(dict.fromkeys(name for name in known if name is not None)))\n",
        "    _note(path, [epoch])\n",
        f"{_FILES}::test_a_kill_at_any_step_of_a_start_is_no_cause_for_alarm",
    ),
    Mutation(
        "a missing log is replaced by a new one",
        f"{_SQLITE}/location.py",
        "        if traces:\n",
        "        if len(traces) > len(TRACES):\n",
        f"{_FILES}::test_a_missing_log_is_not_replaced_by_a_new_one",
    ),
    Mutation(
        "the structure of a torn copy is not checked",
        f"{_SQLITE}/check.py",
        "            self._check_structure()\n",
        "            pass\n",
        f"{_FILES}::test_a_copy_with_pages_of_several_moments_is_refused",
    ),
    Mutation(
        "an event at the end is not looked up through the indexes",
        f"{_SQLITE}/check.py",
        "        fault = fault_in_tail(self._connection, begin, self._end)\n",
        "        fault = None\n",
        f"{_FILES}::test_an_index_is_looked_at_in_a_large_log_too",
    ),
    Mutation(
        "two backups to one name write one file",
        f"{_SQLITE}/backup.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        f"{_BACKUP}::test_of_two_backups_to_one_name_one_succeeds",
    ),
    Mutation(
        "a backup is not checked",
        f"{_SQLITE}/backup.py",
        "            contents = examine(unfinished)\n",
        '            contents = Contents("", 0, None)\n',
        f"{_BACKUP}::test_of_a_damaged_log_there_is_no_backup",
    ),
    Mutation(
        "a snapshot of another history is gone on with",
        "openbank/eventstore/history.py",
        "        if not page or page[0].id != event_id:\n",
        "        if not page:\n",
        "tests/eventstore/test_snapshots.py",
    ),
    Mutation(
        "a replay is made of a snapshot that was taken after it",
        f"{_SQLITE}/snapshots.py",
        "AND revision <= ? ORDER BY",
        "AND ?2 ORDER BY",
        "tests/eventstore/test_snapshots.py",
    ),
    # Private, and one bank's
    Mutation(
        "files are made as open as the umask has them",
        "openbank/disk.py",
        "    os.fchmod(descriptor, PRIVATE_FILE)\n",
        "    os.fchmod(descriptor, 0o644)\n",
        "tests/test_private.py",
    ),
    Mutation(
        "what an earlier version left open to others stays open",
        "openbank/datadir.py",
        "        _make_private(self.path)\n",
        "",
        "tests/test_private.py",
    ),
    Mutation(
        "two data directories serve one log",
        f"{_SQLITE}/schema.py",
        "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)\n",
        "tests/test_private.py",
    ),
    Mutation(
        "the log of another bank than that of the views is served",
        "openbank/views/projector.py",
        "    elif views.log.bank_id != log.bank_id:\n",
        "    elif views.shared and views.log.bank_id != log.bank_id:\n",
        "tests/test_private.py tests/views/test_projector.py",
    ),
    # Views
    Mutation(
        "a balance goes back when an event is projected again",
        f"{_VIEWS}/writer.py",
        "FROM (VALUES {rows}) AS new WHERE account_id = new.column1 AND revision < new.column2\n",
        "FROM (VALUES {rows}) AS new WHERE account_id = new.column1\n",
        "tests/views/test_sqlite.py",
    ),
    Mutation(
        "the checkpoint of the views is forgotten",
        f"{_VIEWS}/writer.py",
        "    connection.execute(_SET_CHECKPOINT, through)\n",
        "",
        "tests/views/test_sqlite.py tests/views/test_projector.py",
    ),
    Mutation(
        "the checkpoint of the views moves back",
        f"{_VIEWS}/writer.py",
        'revision = ?3 WHERE position < ?1"',
        'revision = ?3 WHERE position <> ?1"',
        "tests/views/test_sqlite.py",
    ),
    Mutation(
        "a query does not wait for its token",
        "openbank/queries/reader.py",
        "    if views.position.position < at.position:\n",
        "    if views.position.position < 0:\n",
        "tests/queries",
    ),
    Mutation(
        "a query says that there is nothing before its views have caught up",
        "openbank/queries/reader.py",
        "    if head.position <= found.position.position:\n",
        "    if head.position >= found.position.position:\n",
        "tests/queries",
    ),
    Mutation(
        "a lease is taken while its holder renews it",
        "openbank/views/lease.py",
        "        if free or now - self._since >= STANDSTILL_SECONDS:\n",
        "        if free or now - self._since >= 0:\n",
        "tests/views/test_lease.py",
    ),
    Mutation(
        "a lease that was lost is not noticed",
        "openbank/views/lease.py",
        "            while self._lease.held:\n",
        "            while True:\n",
        "tests/views/test_lease.py",
    ),
    # One caller beside others
    Mutation(
        "a refused call keeps its memory until the garbage collector runs",
        "openbank/rpc/call.py",
        "        finally:\n            del context\n",
        "        finally:\n            pass\n",
        "tests/rpc/test_large_requests.py",
    ),
    Mutation(
        "a request of any size is parsed",
        "openbank/rpc/guards.py",
        "        if len(data) > bytes_max:\n",
        "        if len(data) > 1 << 20:\n",
        "tests/rpc/test_large_requests.py",
    ),
    Mutation(
        "lines that nobody takes wait in memory without a limit",
        "openbank/log_writer.py",
        "            if self._given - self._taken + len(text) > self._waiting_length_max:\n",
        "            if not text:\n",
        "tests/test_log_writer.py",
    ),
    Mutation(
        "the end of the process does not wait for the log",
        "openbank/log_writer.py",
        "        written.wait(FLUSH_SECONDS_MAX)\n",
        "        pass\n",
        "tests/test_log_writer.py",
    ),
    Mutation(
        "a time is looked for in the whole log without a pause",
        f"{_SQLITE}/store.py",
        "            end = min(at + SCAN_STEP, head.position)\n",
        "            end = head.position\n",
        "tests/eventstore/test_sqlite.py",
    ),
    Mutation(
        "reads that wait take the places of other calls",
        "openbank/queries/reader.py",
        "    reader.about_to_wait()\n",
        "    pass\n",
        "tests/rpc/test_limits.py",
    ),
    Mutation(
        "reads take the places of commands",
        "openbank/rpc/handlers.py",
        "    group = calls.commands if about.is_mutation else calls.queries\n",
        "    group = calls.queries\n",
        "tests/rpc/test_limits.py",
    ),
    # Feeds
    Mutation(
        "the embedded store's subscription leaves out what comes between history and live",
        f"{_SQLITE}/store.py",
        "                return events if events[0].position == after + 1 else None\n",
        "                return events\n",
        f"{_STORE}::TestUpstreamThatIsReadTooSlowly",
    ),
    Mutation(
        "a feed leaves out the event at the join of memory and history",
        "openbank/eventstore/tail.py",
        "        start = bisect_right(ring, after.position, key=_position)\n",
        "        start = bisect_right(ring, after.position + 1, key=_position)\n",
        "tests/eventstore/test_tail.py tests/feeds",
    ),
    Mutation(
        "memory is said to reach further back than it does",
        "openbank/eventstore/tail.py",
        "            self._floor = self._ring[drop - 1].position\n",
        "            self._floor = self._ring[drop - 1].position - 1\n",
        "tests/eventstore/test_tail.py tests/feeds",
    ),
    Mutation(
        "a heartbeat's token passes events that were not sent",
        "openbank/feeds/watch.py",
        "                await self._say(Signal.HEARTBEAT, self._at)\n\n    async def _wait",
        "                await self._say(Signal.HEARTBEAT, self._feed.tail.head)\n\n    async def _wait",
        "tests/feeds",
    ),
    Mutation(
        "an event that may concern a watch does not wake it",
        "openbank/feeds/pages.py",
        "                _resolve_all(waiters, self._passed)\n        time",
        "                pass\n        time",
        "tests/feeds/test_join.py tests/feeds/test_watch.py",
    ),
    Mutation(
        "a watch is woken past the event that it is woken for",
        "openbank/feeds/pages.py",
        "                _resolve_all(waiters, self._passed)\n        time",
        "                _resolve_all(waiters, Passed(page.through, None))\n        time",
        "tests/feeds/test_join.py",
    ),
    Mutation(
        "a watch begins beyond the end of the log",
        "openbank/feeds/watch.py",
        "                if position.position > head.position:\n",
        "                if position.position > head.position + 1_000:\n",
        "tests/feeds/test_watch.py",
    ),
    Mutation(
        "a token does not tell of which bank it is",
        "openbank/eventstore/token.py",
        "        if bank != self._bank:\n",
        "        if not bank:\n",
        "tests/eventstore/test_token.py",
    ),
    Mutation(
        "a token of another store counts its positions",
        "openbank/eventstore/token.py",
        "        if store == self._here:\n",
        "        if store:\n",
        "tests/eventstore/test_token.py",
    ),
    Mutation(
        "a read waits for a token beyond the log until its time is over",
        "openbank/queries/reader.py",
        "            if at.position > (await reader.head()).position:\n",
        "            if not await reader.head():\n",
        "tests/queries/test_reader.py",
    ),
    # Clients
    Mutation(
        "what a proxy says ends a watch",
        "openbank/client/errors.py",
        "    if not any(detail.Unpack(info) and info.domain == DOMAIN for detail in details):\n",
        "    if error.code() is grpc.StatusCode.UNAVAILABLE:\n",
        "tests/client",
    ),
    Mutation(
        "a call that is sent again is another request",
        "openbank/client/call.py",
        "            return await method(tries.request, timeout=tries.seconds)\n",
        "            return await method(_Tries(request, 1, on_retry).request, timeout=tries.seconds)\n",
        "tests/client/test_call.py",
    ),
    # Stops
    Mutation(
        "calls that come during a stop are carried out",
        "openbank/rpc/handlers.py",
        "                if calls.draining:\n                    await calls.refuse()\n",
        "",
        "tests/rpc/test_stop.py",
    ),
    Mutation(
        "new calls are not held while connections are closed",
        "openbank/server.py",
        "        self._calls.hold()\n",
        "",
        "tests/rpc/test_stop.py",
    ),
    Mutation(
        "a call that is cut off is said to be safe to repeat",
        "openbank/rpc/errors.py",
        '    if mutation is not None and not getattr(mutation, "request_id", ""):\n',
        "    if mutation is None:\n",
        "tests/rpc/test_stop.py",
    ),
    Mutation(
        "a signal during the start waits until the bank is ready",
        "openbank/cli/serve.py",
        "            self._starting.cancel()\n",
        "            pass\n",
        "tests/cli/test_serve.py",
    ),
    Mutation(
        "health and reflection streams have no limit",
        "openbank/rpc/calls.py",
        "        if group.count >= self.maximum:\n",
        "        if group.count >= 1 << 20:\n",
        "tests/rpc/test_limits.py",
    ),
    # Sinks
    Mutation(
        "a kept connection that the receiver has closed costs a try",
        "openbank/sinks/http_client.py",
        "            except NoAnswer:\n",
        "            except NotImplementedError:\n",
        "tests/sinks/test_rude_receivers.py",
    ),
    Mutation(
        "a NATS connection on which no answer came is used again",
        "openbank/sinks/nats.py",
        "            self._drop(connection)\n            return Later(",
        "            return Later(",
        "tests/sinks/test_nats.py",
    ),
    Mutation(
        "a log line quotes what an exception was given",
        "openbank/tracebacks.py",
        "    if not kind.__module__.startswith(OURS) or",
        "    if kind.__module__.startswith(OURS) and",
        "tests/rpc/test_log_lines.py",
    ),
    Mutation(
        "a page is sent on after a pause in which an operator skipped some of it",
        "openbank/sinks/sender.py",
        "            if (await self._load()).version != stored.version:\n",
        "            if False:\n",
        "tests/sinks/test_sender.py",
    ),
    Mutation(
        "a sink that is down has its events parked",
        "openbank/sinks/overdue.py",
        "    if other is None or not isinstance(await delivery.try_one(other), Accepted):\n",
        "    if other is None:\n",
        "tests/sinks/test_sender.py",
    ),
    Mutation(
        "a start looks through a restored log for a sink's place",
        "openbank/sinks/sender.py",
        "            trouble = Trouble(LOOKS_FOR_PLACE",
        "            await in_this_log(self._store, self._name, stored.record)\n"
        "            trouble = Trouble(LOOKS_FOR_PLACE",
        "tests/sinks/test_sender.py",
    ),
    # Copies
    Mutation(
        "a copy drops fields that this version does not know",
        "openbank/eventstore/codec.py",
        "        message = json_format.Parse(json, _message(type_name)())\n",
        "        message = json_format.Parse(json, _message(type_name)(), ignore_unknown_fields=True)\n",
        "tests/eventstore/test_copy.py",
    ),
)
