"""Requests to batches of commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openbank.batches.v1 import batches_service_pb2 as messages
from openbank.commands.batches import SLICE, AtomicBatch, Batched
from openbank.commands.on_account import RULES
from openbank.domain.account import Account
from openbank.domain.errors import InvalidFields, Violation
from openbank.domain.fields import Fields
from openbank.domain.request import Request
from openbank.rpc.call import Call
from openbank.rpc.convert.values import read_request_at_revision

COMMANDS_MAX = 500
INDEPENDENT = messages.BATCH_MODE_INDEPENDENT
ATOMIC = messages.BATCH_MODE_ATOMIC

_NOT_ATOMIC = ("register_person", "open_account", "create_transfer")
_OF_BATCH = "is that of the batch in an ATOMIC one"


def path_of(index: int, name: str) -> str:
    return f"commands[{index}].{name}"


def within(path: str, violations: Sequence[Violation]) -> list[Violation]:
    """The violations of a command, under its path in the batch."""
    return [one._replace(field=f"{path}.{one.field}") for one in violations]


def read_batch(batch: messages.ExecuteBatchRequest) -> Sequence[tuple[str, Any]]:
    """The commands, each with the name of its field. Raises InvalidFields with all that is wrong with their form."""
    fields = Fields()
    commands: list[tuple[str, Any]] = []
    count = len(batch.commands)
    if batch.mode not in (INDEPENDENT, ATOMIC):
        if batch.mode:
            fields.refuse("mode", "UNKNOWN_ENUM_VALUE", f"unknown mode {batch.mode}")
        else:
            fields.refuse("mode", "FIELD_REQUIRED", "is required: INDEPENDENT or ATOMIC")
    if not count:
        fields.refuse("commands", "FIELD_REQUIRED", "is required: 1 to 500 commands")
    elif count > COMMANDS_MAX:
        figures = {"count": str(count), "maxCount": str(COMMANDS_MAX)}
        fields.refuse("commands", "TOO_MANY_VALUES", f"has {count} commands, at most 500 are allowed", **figures)
    else:
        names = [command.WhichOneof("command") for command in batch.commands]
        commands = [(name, getattr(one, name)) for name, one in zip(names, batch.commands, strict=True) if name]
        _check_form(fields, batch.mode, names, commands)
    if batch.mode == INDEPENDENT:
        why = "is for ATOMIC batches: each command of an INDEPENDENT one has its own"
        if batch.request_id:
            fields.refuse("request_id", "FIELD_NOT_ALLOWED", why)
        if batch.HasField("expected_revision"):
            fields.refuse("expected_revision", "FIELD_NOT_ALLOWED", why)
    fields.check()
    return commands


def _check_form(fields: Fields, mode: int, names: Sequence[str | None], commands: Sequence[tuple[str, Any]]) -> None:
    """Checks the form of each command. Those that have no name are not among `commands`."""
    rest = iter(commands)
    # The first may be one that has none, and is refused for what it is.
    account_id = getattr(commands[0][1], "account_id", "") if names[0] else ""
    for index, name in enumerate(names):
        if name is None:
            fields.refuse(f"commands[{index}]", "FIELD_REQUIRED", "is required: one command")
            continue
        _, message = next(rest)
        if mode == ATOMIC:
            _check_of_atomic(fields, index, name, message, account_id)
        elif mode == INDEPENDENT and not message.request_id:
            path = f"{path_of(index, name)}.request_id"
            fields.refuse(path, "FIELD_REQUIRED", "is required in an INDEPENDENT batch")


def _check_of_atomic(fields: Fields, index: int, name: str, message: Any, account_id: str) -> None:
    if name in _NOT_ATOMIC:
        why = "cannot be in an ATOMIC batch, which is about one account"
        fields.refuse(path_of(index, name), "FIELD_NOT_ALLOWED", why)
        return
    if message.request_id:
        fields.refuse(f"{path_of(index, name)}.request_id", "FIELD_NOT_ALLOWED", _OF_BATCH)
    if message.HasField("expected_revision"):
        fields.refuse(f"{path_of(index, name)}.expected_revision", "FIELD_NOT_ALLOWED", _OF_BATCH)
    if message.validate_only:
        fields.refuse(f"{path_of(index, name)}.validate_only", "FIELD_NOT_ALLOWED", _OF_BATCH)
    if message.account_id and account_id and message.account_id != account_id:
        why = "must be the account of the first command"
        fields.refuse(f"{path_of(index, name)}.account_id", "FIELD_NOT_ALLOWED", why)


async def read_atomic(
    batch: messages.ExecuteBatchRequest,
    commands: Sequence[tuple[str, Any]],
    reads: Mapping[str, Callable[[Any, Call], tuple[Any, Request]]],
    call: Call,
) -> tuple[AtomicBatch, Request]:
    """Raises InvalidFields with what is wrong with the commands, each under its path, unless the batch may repeat one
    that was acknowledged."""
    fields = Fields()
    request = read_request_at_revision(fields, batch, call)
    read: list[Batched] = []
    later: list[tuple[str, Callable[[Account | None], Sequence[Violation]]]] = []
    for index, (name, message) in enumerate(commands):
        if index % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        # So that a wrong field is no matter to a repetition, as it is none to that of a single command.
        message.request_id = batch.request_id if fields.readable else ""
        try:
            command, own = reads[name](message, call)
        except InvalidFields as error:
            fields.readable = False
            for violation in within(path_of(index, name), error.violations):
                fields.refuse(violation.field, violation.reason, violation.message, **violation.metadata)
            continue
        read.append(Batched(RULES[type(command)].rpc, command))
        if own.violations:
            later.append((path_of(index, name), own.violations))
    if not fields.readable:
        fields.violations += _found(later, None)
        fields.check()
    if later:
        request = request._replace(violations=lambda account: _found(later, account))
    return AtomicBatch(read[0].command.account_id, tuple(read)), request


def _found(
    later: Sequence[tuple[str, Callable[[Account | None], Sequence[Violation]]]], account: Account | None
) -> list[Violation]:
    return [one for path, violations in later for one in within(path, violations(account))]
