"""Callers with keys, and an access file that has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from openbank.access.keys import NewKey, new_key
from openbank.rpc.services import SERVICES
from tests.callers import Refusal, refusal

METHODS: Mapping[str, MethodDescriptor] = {
    f"{service.descriptor.full_name}/{method.name}": method
    for service in SERVICES
    for method in service.descriptor.methods
}
"""All methods of the bank, by their full names."""
CORRELATION = ("x-correlation-id", "the-same")


def short(method: str) -> str:
    return method.rpartition("/")[2]


class Keys(dict[str, NewKey]):
    """Keys by the name of their caller, made as they are asked for."""

    def __missing__(self, name: str) -> NewKey:
        self[name] = new_key()
        return self[name]

    def entry(self, name: str, *roles: str, more: str = "") -> str:
        key = self[name]
        return f'[[key]]\nname = "{name}"\nid = "{key.id}"\nsha256 = "{key.sha256}"\nroles = {list(roles)}\n{more}\n'


def write_access(path: Path, *entries: str) -> Path:
    path.write_text("\n".join(("version = 1", *entries)))
    return path


def issuer_entry(
    issuer: str, jwks: str, role_map: Mapping[str, str], algorithms: Sequence[str], *, roles_claim: str = "roles"
) -> str:
    """An identity provider for an access file, whose tokens must not be expired by a second."""
    roles = ", ".join(f'{theirs} = "{ours}"' for theirs, ours in role_map.items())
    return f"""[[jwt]]
issuer = "{issuer}"
audience = "openbank"
jwks = "{jwks}"
algorithms = {json.dumps(algorithms)}
roles_claim = "{roles_claim}"
owner_claim = "openbank_person"
leeway_seconds = 0
role_map = {{ {roles} }}
"""


class Asked(NamedTuple):
    """What came back: responses of a stream, or one; or a refusal."""

    responses: tuple[Message, ...] = ()
    refused: Refusal | None = None

    @property
    def reason(self) -> str:
        return self.refused.reason if self.refused else "OK"

    @property
    def code(self) -> grpc.StatusCode:
        return self.refused.code if self.refused else grpc.StatusCode.OK


async def ask(channel: grpc.aio.Channel, method: str, request: Any, token: str | None = None, **more: str) -> Asked:
    """Calls a method by its full name."""
    descriptor = METHODS[method]
    metadata = [CORRELATION, *more.items()]
    if token is not None:
        metadata.append(("authorization", f"Bearer {token}"))
    decode = GetMessageClass(descriptor.output_type).FromString
    try:
        if descriptor.server_streaming:
            stream = channel.unary_stream(f"/{method}", type(request).SerializeToString, decode)
            return Asked(tuple([response async for response in stream(request, metadata=metadata)]))
        call = channel.unary_unary(f"/{method}", type(request).SerializeToString, decode)
        return Asked((await call(request, metadata=metadata),))
    except grpc.aio.AioRpcError as error:
        return Asked(refused=refusal(error))
