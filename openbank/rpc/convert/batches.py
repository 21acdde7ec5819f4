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


def read_batch(batch: messages.ExecuteBatchRequest) -> None:
    """Checks the form of a batch. Raises InvalidFields with all that is wrong with it."""
    fields = Fields()
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
        for index, command in enumerate(batch.commands):
            _check_form(fields, batch, index, command)
    if batch.mode == INDEPENDENT:
        why = "is for ATOMIC batches: each command of an INDEPENDENT one has its own"
        if batch.request_id:
            fields.refuse("request_id", "FIELD_NOT_ALLOWED", why)
        if batch.HasField("expected_revision"):
            fields.refuse("expected_revision", "FIELD_NOT_ALLOWED", why)
    fields.check()


def _check_form(
    fields: Fields, batch: messages.ExecuteBatchRequest, index: int, command: messages.BatchCommand
) -> None:
    name = command.WhichOneof("command")
    if name is None:
        fields.refuse(f"commands[{index}]", "FIELD_REQUIRED", "is required: one command")
        return
    path, message = path_of(index, name), getattr(command, name)
    if batch.mode == INDEPENDENT and not message.request_id:
        fields.refuse(f"{path}.request_id", "FIELD_REQUIRED", "is required in an INDEPENDENT batch")
    if batch.mode != ATOMIC:
        return
    if name in _NOT_ATOMIC:
        fields.refuse(path, "FIELD_NOT_ALLOWED", "cannot be in an ATOMIC batch, which is about one account")
        return
    if message.request_id:
        fields.refuse(f"{path}.request_id", "FIELD_NOT_ALLOWED", _OF_BATCH)
    if message.HasField("expected_revision"):
        fields.refuse(f"{path}.expected_revision", "FIELD_NOT_ALLOWED", _OF_BATCH)
    if message.validate_only:
        fields.refuse(f"{path}.validate_only", "FIELD_NOT_ALLOWED", _OF_BATCH)
    first = batch.commands[0]
    # The first may be one that has none, and is refused for what it is.
    account_id = getattr(getattr(first, first.WhichOneof("command") or name), "account_id", "")
    if message.account_id and account_id and message.account_id != account_id:
        fields.refuse(f"{path}.account_id", "FIELD_NOT_ALLOWED", "must be the account of the first command")


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
        path = path_of(index, name)
        try:
            command, own = reads[name](message, call)
        except InvalidFields as error:
            fields.readable = False
            for violation in within(path, error.violations):
                fields.refuse(violation.field, violation.reason, violation.message, **violation.metadata)
            continue
        read.append(Batched(RULES[type(command)].rpc, command))
        if own.violations:
            later.append((path, own.violations))
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
