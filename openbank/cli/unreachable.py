"""Finds out why no bank answers: gRPC says little more than that the connection failed."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from openbank.cli.connection import Connection
from openbank.cli.terminal import shown
from openbank.setting_types import UNIX

CONNECT_SECONDS = 1.0
UNREACHABLE = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
"""The codes of calls for which it is worth asking."""

_OTHER_NAME = (62, 64)
"""OpenSSL's numbers for a certificate of another host name, and of another IP address."""
_EXPIRED = 10
_NO_CERTIFICATE = ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE")
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
"""OpenSSL's reasons where the other side does not speak TLS."""


def unreachable(bank: Connection) -> str:
    """Why there is no connection, in one line that says what to do; empty if there is one."""
    try:
        _connect(bank.target).close()
    except (OSError, UnicodeError) as error:
        return _not_connected(bank.target, error)
    return tls_trouble(bank)


def tls_trouble(bank: Connection) -> str:
    """What is wrong between TLS here and there, in one line that says what to do; empty if nothing is known."""
    if bank.target.startswith(UNIX):
        return ""
    try:
        stays_open = _handshake(bank)
    except ssl.SSLCertVerificationError as error:
        return _distrusted(bank, error)
    except ssl.SSLError as error:
        return _refused(bank, error.reason or "")
    except (OSError, UnicodeError):
        return ""
    if not bank.tls_ca:
        return f"{bank.target} expects TLS: give --tls-ca FILE, the authority of its certificate"
    return "" if stays_open else _no_certificate(bank)


def _no_certificate(bank: Connection) -> str:
    if bank.tls_cert is None:
        return f"{bank.target} expects a client certificate: give --tls-cert FILE and --tls-key FILE"
    return f"{bank.target} does not accept the client certificate --tls-cert {bank.tls_cert}, or has just stopped"


def _refused(bank: Connection, reason: str) -> str:
    if not bank.tls_ca or not reason:
        return ""
    if reason in _NO_TLS:
        return f"{bank.target} does not speak TLS: leave out --tls-ca, or call the port that does"
    if reason in _NO_CERTIFICATE:
        return _no_certificate(bank)
    return f"{bank.target} refuses the TLS connection: {reason.lower().replace('_', ' ')}"


def _handshake(bank: Connection) -> bool:
    """Makes a TLS connection as the channel does; without --tls-ca, to a bank with any certificate. Raises OSError.

    Returns whether it stays open: a server that misses a certificate closes it, and may say why. Others begin with
    their HTTP/2 settings."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    if bank.tls_ca is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_verify_locations(bank.tls_ca)
    if bank.tls_cert is not None:
        context.load_cert_chain(bank.tls_cert, bank.tls_key)
    host, _ = _host_and_port(bank.target)
    with _connect(bank.target) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
        return bank.tls_ca is None or bool(secure.recv(1))


def _distrusted(bank: Connection, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _OTHER_NAME:
        names = ", ".join(_names(bank)) or "no name at all"
        return f"the certificate of {bank.target} is for {names}: give one of these as --target, or renew it"
    if error.verify_code == _EXPIRED:
        return f"the certificate of {bank.target} has expired: renew it"
    why = error.verify_message
    return f"the certificate of {bank.target} is not signed by an authority of --tls-ca {bank.tls_ca}: {why}"


def _names(bank: Connection) -> list[str]:
    """The names in the certificate of the bank, which is trusted otherwise."""
    context = ssl.create_default_context(cafile=bank.tls_ca)
    context.check_hostname = False
    try:
        with _connect(bank.target) as plain, context.wrap_socket(plain) as secure:
            certificate = secure.getpeercert() or {}
    except OSError:
        return []
    names: Any = certificate.get("subjectAltName", ())
    return [shown(name) for kind, name in names if kind in ("DNS", "IP Address")]


def _connect(target: str) -> socket.socket:
    if not target.startswith(UNIX):
        return socket.create_connection(_host_and_port(target), CONNECT_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(CONNECT_SECONDS)
        connection.connect(target.removeprefix(UNIX))
    except BaseException:
        connection.close()
        raise
    return connection


def _not_connected(target: str, error: OSError | UnicodeError) -> str:
    if target.startswith(UNIX):
        return f"no bank listens on {target}: {getattr(error, 'strerror', None) or error}"
    host, port = _host_and_port(target)
    match error:
        case ConnectionRefusedError():
            return f"nothing listens on port {port} of {host}"
        case socket.gaierror() | UnicodeError():
            return f"the name {host} is unknown"
        case TimeoutError():
            return f"{target} does not accept connections: no answer within {CONNECT_SECONDS:g} s"
    return f"cannot connect to {target}: {getattr(error, 'strerror', None) or error}"


def _host_and_port(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)
