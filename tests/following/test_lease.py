"""The lease: one instance does the work, another one soon after its death, by a clock that tests can set."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.eventstore.errors import NewerVersionNeeded
from openbank.following import lease as leasing
from openbank.following.lease import FREE, STANDSTILL_SECONDS, Lease, Leased, LeaseRecord, LeaseUnavailable, Term
from openbank.following.tail import LogTail
from openbank.views.mongo import MongoViews
from tests.eventstore.memory import MemoryStore
from tests.views.histories import LOG, History, assert_holds, new_projector

ROOT = Path(__file__).parents[2]
TAKEOVER_SECONDS = 10.0
PATIENCE_SECONDS = 20.0


class MemoryRecord:
    """`LeaseRecord` in a variable: it can be away, and it can lose answers."""

    def __init__(self) -> None:
        self.term = FREE
        self.away = False
        self.loses_answers = False

    async def read(self) -> Term:
        self._check(self.away)
        return self.term

    async def take(self, holder: str, seen: Term) -> bool:
        return self._change(self.term == seen, Term(holder, seen.beats + 1))

    async def renew(self, holder: str) -> bool:
        return self._change(self.term.holder == holder, Term(holder, self.term.beats + 1))

    async def release(self, holder: str) -> None:
        self._change(self.term.holder == holder, Term(FREE.holder, self.term.beats + 1))

    def _change(self, done: bool, term: Term) -> bool:
        self._check(self.away)
        if done:
            self.term = term
        self._check(self.loses_answers)
        return done

    def _check(self, fails: bool) -> None:
        if fails:
            raise LeaseUnavailable("away")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def record() -> MemoryRecord:
    return MemoryRecord()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def holder(record: MemoryRecord, clock: Clock) -> Lease:
    return Lease(record, clock)


@pytest.fixture
def other(record: MemoryRecord, clock: Clock) -> Lease:
    return Lease(record, clock)


class TestLease:
    async def test_the_first_one_holds_it_as_long_as_it_beats(self, holder: Lease, other: Lease, clock: Clock) -> None:
        for _ in range(100):
            await holder.beat()
            await other.beat()
            clock.now += STANDSTILL_SECONDS - 0.1
            assert (holder.held, other.held) == (True, False)

    async def test_a_lease_is_taken_over_after_standing_still_for_8_seconds(
        self, holder: Lease, other: Lease, clock: Clock
    ) -> None:
        await holder.beat()
        await other.beat()
        clock.now += 7.9
        await other.beat()
        assert not other.held
        clock.now += 0.1
        await other.beat()
        assert other.held

    async def test_a_holder_that_was_too_slow_learns_that_it_has_lost_it(
        self, holder: Lease, other: Lease, clock: Clock
    ) -> None:
        await take_over(holder, other, clock)
        await holder.beat()
        assert (holder.held, other.held) == (False, True)
        await other.beat()
        assert other.held

    async def test_one_of_two_instances_takes_a_lease_that_stands_still(
        self, record: MemoryRecord, holder: Lease, clock: Clock
    ) -> None:
        await holder.beat()
        others = [Lease(record, clock) for _ in range(5)]
        for _ in range(2):
            await asyncio.gather(*(other.beat() for other in others))
            clock.now += STANDSTILL_SECONDS
        assert sum(other.held for other in others) == 1

    async def test_a_released_lease_is_free_at_once(self, holder: Lease, other: Lease) -> None:
        await holder.beat()
        await other.beat()
        await holder.release()
        await other.beat()
        assert (holder.held, other.held) == (False, True)

    async def test_a_former_holder_releases_nothing(self, holder: Lease, other: Lease, clock: Clock) -> None:
        await take_over(holder, other, clock)
        await holder.release()
        await other.beat()
        assert other.held

    async def test_no_instance_takes_the_lease_while_its_record_is_away(
        self, record: MemoryRecord, holder: Lease, other: Lease, clock: Clock
    ) -> None:
        await holder.beat()
        await other.beat()
        record.away = True
        for lease in (holder, other):
            with pytest.raises(LeaseUnavailable):
                await lease.beat()
        clock.now += 60
        record.away = False
        await other.beat()
        await holder.beat()
        assert (holder.held, other.held) == (True, False)

    async def test_a_holder_whose_answer_was_lost_holds_the_lease(
        self, record: MemoryRecord, holder: Lease, other: Lease
    ) -> None:
        record.loses_answers = True
        with pytest.raises(LeaseUnavailable):
            await holder.beat()
        record.loses_answers = False
        await other.beat()
        await holder.beat()
        assert (holder.held, other.held) == (True, False)

    @given(
        st.lists(
            st.tuples(st.integers(0, 2), st.sampled_from(["beat", "beat", "beat", "die"]), st.floats(0, 5)),
            max_size=60,
        )
    )
    async def test_the_lease_is_held_10_seconds_after_any_sequence_of_faults(
        self, steps: list[tuple[int, str, float]]
    ) -> None:
        record, clock = MemoryRecord(), Clock()
        leases = [Lease(record, clock) for _ in range(3)]
        for number, step, seconds in steps:
            clock.now += seconds
            if step == "die":
                leases[number] = Lease(record, clock)
            else:
                await leases[number].beat()
        survivors = leases[:2]
        for _ in range(round(TAKEOVER_SECONDS / leasing.BEAT_SECONDS)):
            for lease in survivors:
                await lease.beat()
            clock.now += leasing.BEAT_SECONDS
        assert sum(lease.held for lease in survivors) == 1


class TestRecord:
    """What any record of a lease does."""

    @pytest.fixture(params=["memory", "first_mongodb", "mongo_java_server"])
    async def record(self, request: pytest.FixtureRequest) -> AsyncIterator[LeaseRecord]:
        if request.param == "memory":
            yield MemoryRecord()
            return
        views = await MongoViews.open(f"{request.getfixturevalue(request.param)}/{secrets.token_hex(4)}")
        yield views.lease()
        await views.close()

    async def test_it_is_free_at_first(self, record: LeaseRecord) -> None:
        assert await record.read() == FREE

    async def test_it_is_taken_only_as_it_was_seen(self, record: LeaseRecord) -> None:
        assert await record.take("a", FREE)
        taken = await record.read()
        assert taken.holder == "a"
        assert not await record.take("b", FREE)
        assert not await record.take("b", taken._replace(beats=taken.beats + 1))
        assert not await record.take("b", taken._replace(holder="c"))
        assert await record.take("b", taken)
        assert (await record.read()).holder == "b"

    async def test_its_holder_alone_renews_and_releases_it(self, record: LeaseRecord) -> None:
        await record.take("a", FREE)
        taken = await record.read()
        assert not await record.renew("b")
        await record.release("b")
        assert await record.read() == taken
        assert await record.renew("a")
        renewed = await record.read()
        assert renewed.holder == "a"
        assert renewed.beats > taken.beats
        await record.release("a")
        released = await record.read()
        assert released.holder == FREE.holder
        assert released.beats > renewed.beats
        assert not await record.renew("a")

    async def test_one_of_many_at_once_takes_it(self, record: LeaseRecord) -> None:
        for _ in range(5):
            seen = await record.read()
            taken = await asyncio.gather(*(record.take(str(number), seen) for number in range(8)))
            assert sum(taken) == 1


class TestLeased:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(leasing, "BEAT_SECONDS", 0.001)

    async def test_work_continues_while_the_lease_is_held_and_is_cancelled_when_it_is_lost(
        self, record: MemoryRecord, holder: Lease, other: Lease, clock: Clock
    ) -> None:
        works = [Work(), Work()]
        running = [
            asyncio.create_task(Leased(lease, work.run).run())
            for lease, work in zip((holder, other), works, strict=True)
        ]
        await until(lambda: at_work(works) == [True, False])
        # Another one takes over, as if the holder had been too slow.
        record.term = Term("a third one", record.term.beats + 1)
        await until(lambda: at_work(works) == [False, False])
        await until(lambda: clock_moves(clock) and any(at_work(works)))
        assert at_work(works) != [True, True]
        await cancel(*running)
        assert at_work(works) == [False, False]
        assert record.term.holder == FREE.holder

    async def test_another_instance_continues_at_once_after_a_clean_stop(
        self, record: MemoryRecord, holder: Lease, other: Lease
    ) -> None:
        works = [Work(), Work()]
        first = asyncio.create_task(Leased(holder, works[0].run).run())
        await until(lambda: works[0].running)
        second = asyncio.create_task(Leased(other, works[1].run).run())
        await cancel(first)
        await until(lambda: works[1].running)
        assert not works[0].running
        await cancel(second)

    async def test_work_that_ends_is_left_to_others(self, record: MemoryRecord, holder: Lease, other: Lease) -> None:
        async def fails() -> None:
            await asyncio.sleep(0)

        await asyncio.wait_for(Leased(holder, fails).run(), PATIENCE_SECONDS)
        work = Work()
        next_one = asyncio.create_task(Leased(other, work.run).run())
        await until(lambda: work.running)
        await cancel(next_one)

    async def test_work_that_raises_is_logged_and_left_to_others(self, record: MemoryRecord, holder: Lease) -> None:
        async def raises() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(Leased(holder, raises).run(), PATIENCE_SECONDS)
        assert record.term.holder == FREE.holder

    async def test_work_that_needs_a_newer_version_is_left_to_others_and_tried_again(
        self, record: MemoryRecord, holder: Lease, other: Lease, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leasing, "NEWER_SECONDS", 0.1)
        tries = 0

        async def is_too_old() -> None:
            nonlocal tries
            tries += 1
            raise NewerVersionNeeded("account-1", 2, "openbank.accounts.v9.Gift")

        older = asyncio.create_task(Leased(holder, is_too_old).run())
        await until(lambda: tries > 0 and record.term.holder == FREE.holder)
        work = Work()
        newer = asyncio.create_task(Leased(other, work.run).run())
        await until(lambda: work.running)
        seen = tries
        await asyncio.sleep(0.2)
        assert (work.running, tries) == (True, seen)
        await cancel(newer)
        await until(lambda: tries > seen)
        await cancel(older)

    async def test_work_continues_while_the_record_is_away_and_a_stop_does_not_wait(
        self, record: MemoryRecord, holder: Lease
    ) -> None:
        work = Work()
        running = asyncio.create_task(Leased(holder, work.run).run())
        await until(lambda: work.running)
        record.away = True
        await asyncio.sleep(0.02)
        assert work.running
        await asyncio.wait_for(cancel(running), 1)


class TestTakeover:
    async def test_another_instance_projects_within_10_seconds_of_a_kill(self, database: str) -> None:
        views = await MongoViews.open(database)
        await views.clear(LOG)
        store = MemoryStore()
        history = History(store)
        await history.register("ann")
        await history.open("1", "ann")
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.following.test_lease", database, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert holder.stdout is not None
            assert await holder.stdout.readline() == b"held\n"
            tail = LogTail(store)
            leased = Leased(Lease(views.lease()), new_projector(store, tail.reader(), views).run)
            running = [asyncio.create_task(tail.run()), asyncio.create_task(leased.run())]
            await asyncio.sleep(1)
            assert not leased.held
            assert views.place.position == 0
        finally:
            holder.kill()
        killed = time.monotonic()
        head = await store.head()
        await asyncio.wait_for(views.wait_for(head.position), TAKEOVER_SECONDS)
        assert STANDSTILL_SECONDS - 1 < time.monotonic() - killed < TAKEOVER_SECONDS
        await holder.wait()
        await assert_holds(views, history)
        await cancel(*running)
        await views.close()


class Work:
    def __init__(self) -> None:
        self.running = False

    async def run(self) -> None:
        self.running = True
        try:
            await asyncio.Event().wait()
        finally:
            self.running = False


async def take_over(holder: Lease, other: Lease, clock: Clock) -> None:
    await holder.beat()
    await other.beat()
    clock.now += STANDSTILL_SECONDS
    await other.beat()
    assert other.held


def at_work(works: list[Work]) -> list[bool]:
    return [work.running for work in works]


def clock_moves(clock: Clock) -> bool:
    clock.now += 0.1
    return True


async def cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(round(PATIENCE_SECONDS / 0.001)):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


async def hold(database: str) -> None:
    """As another process, until it is killed."""
    views = await MongoViews.open(database)
    waits: Callable[[], Awaitable[None]] = Work().run
    leased = Leased(Lease(views.lease()), waits)
    running = asyncio.create_task(leased.run())
    await until(lambda: leased.held)
    print("held", flush=True)
    await running


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1]))
