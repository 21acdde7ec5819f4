"""Channels to a bank: plain or by TLS, by network or by a local socket, with a token or without."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import grpc

from openbank.client.watch import CHANNEL_OPTIONS

UNIX = "unix:"

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_FILE_BYTES_MAX = 1 << 20

StrPath = str | os.PathLike[str]
Options = Sequence[tuple[str, Any]]


class BadCredentials(ValueError):
    """A file or a token that no channel can be made with. The message repeats no secret."""

    def __init__(self, parameter: str, why: str) -> None:
        super().__init__(f"{parameter} {why}")
        self.parameter = parameter
        """The parameter of `connect` that is wrong."""
        self.why = why


def connect(
    target: str,
    *,
    tls_ca: StrPath | None = None,
    tls_cert: StrPath | None = None,
    tls_key: StrPath | None = None,
    token_file: StrPath | None = None,
    token: str | None = None,
    options: Options = CHANNEL_OPTIONS,
) -> grpc.aio.Channel:
    """A channel for asyncio. `target` is HOST:PORT, or unix:PATH for the local socket of a bank.

    `tls_ca` is a PEM file of the authorities that may vouch for the bank: with it the channel uses TLS, without it the
    channel is plain. A bank with mutual TLS also asks for `tls_cert` and `tls_key`, PEM files. These are read once.

    `token` is sent with each call. `token_file` is read again when it changes, so that a token can be renewed. A token
    is sent only over TLS or within this machine. Raises BadCredentials.
    """
    credentials = _credentials(target, tls_ca, tls_cert, tls_key, token_file, token)
    if credentials is None:
        return grpc.aio.insecure_channel(_address(target), options=options)
    return grpc.aio.secure_channel(_address(target), credentials, options=options)


def connect_sync(
    target: str,
    *,
    tls_ca: StrPath | None = None,
    tls_cert: StrPath | None = None,
    tls_key: StrPath | None = None,
    token_file: StrPath | None = None,
    token: str | None = None,
    options: Options = CHANNEL_OPTIONS,
) -> grpc.Channel:
    """`connect`, without asyncio."""
    credentials = _credentials(target, tls_ca, tls_cert, tls_key, token_file, token)
    if credentials is None:
        return grpc.insecure_channel(_address(target), options=options)
    return grpc.secure_channel(_address(target), credentials, options=options)


def _address(target: str) -> str:
    """The target as gRPC reads it: a path is part of a URI."""
    return UNIX + quote(target.removeprefix(UNIX)) if target.startswith(UNIX) else target


def _credentials(
    target: str,
    ca: StrPath | None,
    cert: StrPath | None,
    key: StrPath | None,
    token_file: StrPath | None,
    token: str | None,
) -> grpc.ChannelCredentials | None:
    bearer = _bearer(token_file, token)
    if ca is not None:
        if target.startswith(UNIX):
            raise BadCredentials("tls_ca", f"is not for {UNIX}PATH: a local socket has no TLS")
        channel = _tls(ca, cert, key)
    elif cert is not None or key is not None:
        raise BadCredentials("tls_ca", "must be given with a client certificate: it says which bank to trust")
    elif bearer is None:
        return None
    else:
        channel = _within_this_machine(target, bearer.parameter)
    if bearer is None:
        return channel
    return grpc.composite_channel_credentials(channel, grpc.metadata_call_credentials(bearer, "openbank"))


def _tls(ca: StrPath, cert: StrPath | None, key: StrPath | None) -> grpc.ChannelCredentials:
    if (cert is None) != (key is None):
        raise BadCredentials(
            "tls_cert" if cert is None else "tls_key", "must be given: a certificate and its key belong together"
        )
    # gRPC says nothing about files that it cannot use, so they are tried here.
    trying = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities = _read("tls_ca", ca)
    try:
        trying.load_verify_locations(cadata=authorities.decode())
    except (ssl.SSLError, ValueError):
        raise BadCredentials("tls_ca", f"has no certificates in PEM: {ca}") from None
    if cert is None or key is None:
        return grpc.ssl_channel_credentials(authorities)
    chain, private = _read("tls_cert", cert), _read("tls_key", key)
    try:
        trying.load_cert_chain(cert, key, _no_password)
    except BadCredentials:
        raise
    except (OSError, ValueError):
        raise BadCredentials("tls_cert", f"is no certificate in PEM, or its key is another: {cert}, {key}") from None
    return grpc.ssl_channel_credentials(authorities, private, chain)


def _no_password() -> NoReturn:
    """Otherwise the terminal is asked."""
    raise BadCredentials("tls_key", "must not be encrypted")


def _read(parameter: str, file: StrPath) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise BadCredentials(parameter, f"cannot be read: {file}: {error.strerror}") from None


def _within_this_machine(target: str, parameter: str) -> grpc.ChannelCredentials:
    """Plain, for a token: gRPC itself refuses a peer that is not of this machine."""
    if target.startswith(UNIX):
        return grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    host = target.rpartition(":")[0].strip("[]")
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if not is_here:
        raise BadCredentials(parameter, f"is sent to another machine by TLS only, and {target} is to be called without")
    return grpc.local_channel_credentials(grpc.LocalConnectionType.LOCAL_TCP)


def _bearer(file: StrPath | None, token: str | None) -> _Bearer | None:
    if file is not None and token is not None:
        raise BadCredentials("token_file", "cannot be given with token")
    if file is not None:
        return _TokenFile(Path(file))
    return None if token is None else _Bearer(_token("token", token))


class _Bearer(grpc.AuthMetadataPlugin):
    """Adds the token to each call."""

    parameter = "token"

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, _: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        try:
            callback((("authorization", f"Bearer {self.token()}"),), None)
        except BadCredentials as error:
            callback((), error)

    def token(self) -> str:
        return self._token


class _TokenFile(_Bearer):
    """A token that is read again when its file has changed. A new file that cannot be used leaves the old token."""

    parameter = "token_file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()
        super().__init__(self._read())

    def token(self) -> str:
        try:
            stamp = self._stamp()
            if stamp != self._seen:
                self._token, self._seen = self._read(), stamp
        except BadCredentials:
            # It may be half written, or be replaced at this moment: the bank decides about the old one.
            pass
        return self._token

    def _stamp(self) -> tuple[int, ...]:
        try:
            stat = self._path.stat()
        except OSError as error:
            raise BadCredentials(self.parameter, f"cannot be read: {self._path}: {error.strerror}") from None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def _read(self) -> str:
        return _token(self.parameter, _read(self.parameter, self._path).decode(errors="replace").strip())


def _token(parameter: str, text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise BadCredentials(parameter, "must hold one token, of letters, digits and -._~+/=")
    return text
