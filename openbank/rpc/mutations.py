"""Methods that change something: one row each. They all do the same around what the row names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from openbank.aggregates.waiting import Written
from openbank.commands.write_side import WriteSide
from openbank.domain.request import Request
from openbank.domain.versioned import Versioned
from openbank.eventstore.token import Tokens
from openbank.rpc.call import Call
from openbank.rpc.convert.values import fill_written
from openbank.rpc.handlers import Unary


@dataclass(slots=True)
class Mutation:
    name: str
    """The name of the RPC in the contract."""
    read: Callable[[Any, Call], tuple[Any, Request]]
    """From the request to the command. Raises InvalidFields."""
    command: Callable[[WriteSide, Any, Request], Awaitable[Written[Any]]]
    fill: Callable[[Any, Versioned[Any]], None]
    """Writes the resource into the response."""


def methods(
    service: ServiceDescriptor, mutations: Sequence[Mutation], bank: WriteSide, tokens: Tokens
) -> Mapping[str, Unary]:
    """The methods of a service that these rows describe, by name."""
    return {row.name: _method(row, service.methods_by_name[row.name].output_type, bank, tokens) for row in mutations}


def _method(row: Mutation, output: Descriptor, bank: WriteSide, tokens: Tokens) -> Unary:
    response_class = GetMessageClass(output)

    async def serve(message: Any, call: Call) -> Message:
        written = await row.command(bank, *row.read(message, call))
        response = response_class()
        row.fill(response, written.resource)
        fill_written(response, written, tokens.encode(written.position))
        return response

    return serve
