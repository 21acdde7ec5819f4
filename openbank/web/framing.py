"""gRPC-Web's binary framing: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterable
from urllib.parse import quote

MESSAGE_BYTES_MAX = 4 << 20
CONTENT_TYPES = ("application/grpc-web", "application/grpc-web+proto")

_HEAD = struct.Struct(">BI")
_MESSAGE, _TRAILERS = 0x00, 0x80
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class BadFrame(ValueError):
    """A body that is not one message in a frame."""


def read_message(body: bytes) -> bytes:
    """The one message of a request. Raises BadFrame."""
    if len(body) < _HEAD.size:
        raise BadFrame("the body has no frame")
    flags, size = _HEAD.unpack_from(body)
    if flags != _MESSAGE:
        raise BadFrame("the frame is compressed, or no message")
    if size != len(body) - _HEAD.size:
        raise BadFrame("the body is not exactly one frame")
    return body[_HEAD.size :]


def read_timeout(header: str | None) -> float | None:
    """The header grpc-timeout in seconds; None without it. Raises ValueError."""
    if header is None:
        return None
    found = _TIMEOUT.fullmatch(header)
    if found is None:
        raise ValueError("grpc-timeout must be digits and a unit, such as 30S")
    return int(found[1]) * _SECONDS[found[2]]


def message_frame(message: bytes) -> bytes:
    return _HEAD.pack(_MESSAGE, len(message)) + message


def trailers_frame(code: int, details: str, metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    """The end of a call: its status, and the trailing metadata of the bank."""
    lines = [f"grpc-status: {code}", f"grpc-message: {quote(details, safe=' !#$&()*+,/:;=?@[]')}"]
    for key, value in metadata:
        # A second status would be taken for the call's.
        if key in ("grpc-status", "grpc-message"):
            continue
        text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
        if text.isprintable():
            lines.append(f"{key}: {text}")
    encoded = "".join(f"{line}\r\n" for line in lines).encode()
    return _HEAD.pack(_TRAILERS, len(encoded)) + encoded
