"""openbank.batches.v1.BatchesService."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from openbank.access.errors import PermissionMissing
from openbank.aggregates.waiting import Written
from openbank.batches.v1 import batches_service_pb2 as messages
from openbank.commands.batches import SLICE, CommandRefused, execute_atomic, execute_each
from openbank.commands.on_each_account import BatchItem, ItemOutcome
from openbank.common.v1 import access_pb2
from openbank.common.v1.status_pb2 import Status
from openbank.domain.errors import InvalidFields, Refused
from openbank.rpc import accounts, holds, persons, transfers
from openbank.rpc.bank import Bank
from openbank.rpc.call import Call
from openbank.rpc.convert.batches import ATOMIC, path_of, read_atomic, read_batch, within
from openbank.rpc.convert.values import fill_written
from openbank.rpc.errors import InBatch, to_status

_ROWS = {row.name: row for part in (persons, accounts, holds, transfers) for row in part.MUTATIONS}
_RPCS = {
    field.name: method
    for field in messages.BatchCommand.DESCRIPTOR.fields
    for service in field.message_type.file.services_by_name.values()
    for method in service.methods
    if method.input_type is field.message_type
}
ROWS = {name: _ROWS[method.name] for name, method in _RPCS.items()}
"""The row of each command, by the name of its field."""
PERMISSIONS: dict[str, str] = {
    name: method.GetOptions().Extensions[access_pb2.access].permission for name, method in _RPCS.items()
}
"""What a caller needs for each command."""


class Batches:
    def __init__(self, bank: Bank) -> None:
        self._bank = bank.write_side
        self._tokens = bank.tokens
        self._rates = bank.gate.rates if bank.gate else None

    async def ExecuteBatch(self, request: messages.ExecuteBatchRequest, call: Call) -> messages.ExecuteBatchResponse:
        commands = read_batch(request)
        if self._rates and call.caller:
            self._rates.count_commands(call.caller, len(commands))
        run = self._all_or_none if request.mode == ATOMIC else self._each
        outcomes = await run(request, commands, call)
        written = [outcome for outcome in outcomes if isinstance(outcome, Written)]
        positions = [one.position for one in written]
        last = max(positions, key=attrgetter("position"), default=None)
        token = self._tokens.encode(last) if last else ""
        replayed = request.mode == ATOMIC and written[0].replayed
        response = messages.ExecuteBatchResponse(consistency_token=token, replayed=replayed)
        for index, ((name, message), outcome) in enumerate(zip(commands, outcomes, strict=True)):
            if index % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            result = response.results.add()
            if isinstance(outcome, Exception):
                result.status.MergeFrom(_status(outcome, message, call))
                continue
            made = getattr(result, name)
            ROWS[name].fill(made, outcome.resource)
            if outcome.position != last:
                # Those of one append have one position.
                last, token = outcome.position, self._tokens.encode(outcome.position)
            fill_written(made, outcome, token)
        return response

    async def _each(
        self, batch: messages.ExecuteBatchRequest, commands: Sequence[tuple[str, Any]], call: Call
    ) -> Sequence[ItemOutcome]:
        items: list[BatchItem | Exception] = []
        for index, (name, message) in enumerate(commands):
            if index % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            try:
                owner = call.scope(PERMISSIONS[name])
                command, request = ROWS[name].read(message, call)
            except Refused as error:
                # Its frames hold this list: a call that is cancelled would stay in memory with its request.
                items.append(error.with_traceback(None))
                continue
            if batch.validate_only or owner != call.owner:
                request = request._replace(owner=owner, validate_only=batch.validate_only or request.validate_only)
            items.append(BatchItem(command, request, ROWS[name].command))
        return await execute_each(self._bank, items)

    async def _all_or_none(
        self, batch: messages.ExecuteBatchRequest, commands: Sequence[tuple[str, Any]], call: Call
    ) -> Sequence[ItemOutcome]:
        owners = set()
        for index, (name, message) in enumerate(commands):
            try:
                owners.add(call.scope(PERMISSIONS[name]))
            except PermissionMissing as error:
                raise InBatch(path_of(index, name), error, message) from None
        reads: dict[str, Callable[..., Any]] = {name: ROWS[name].read for name, _ in commands}
        whole, request = await read_atomic(batch, commands, reads, call)
        # All are on one account: one of them that is restricted to its owner restricts all.
        request = request._replace(owner=next((owner for owner in owners if owner is not None), None))
        try:
            return await execute_atomic(self._bank, whole, request)
        except CommandRefused as refused:
            name, message = commands[refused.index]
            path = path_of(refused.index, name)
            if isinstance(refused.error, InvalidFields):
                raise InvalidFields(within(path, refused.error.violations), refused.error.more) from None
            raise InBatch(path, refused.error, message) from None


def _status(error: Exception, message: Any, call: Call) -> Status:
    status: Status = Status.FromString(to_status(call.failure_of(error, message)).SerializeToString())
    return status
