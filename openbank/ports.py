"""The ports of the bank: what may be listened on, by network and by a local socket."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import grpc

from openbank.config import Settings
from openbank.reloading import Reloaded
from openbank.setting_types import UNIX
from openbank.tls import ServerTls, credentials

SOCKET_MASK = 0o177
"""Leaves the owner of a local socket reading and writing, and others nothing."""
ANSWER_SECONDS = 1.0
"""How long a local socket that is there may take to accept a connection."""


_log = logging.getLogger(__name__)


class CannotListen(Exception):
    """The address is busy or may not be used; the message says which and why."""


def check_ports(settings: Settings) -> None:
    """Raises CannotListen for settings that do not belong together, and for a port that would be open to anybody."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        missing, given = ("--tls-cert", "--tls-key") if settings.tls_cert is None else ("--tls-key", "--tls-cert")
        raise CannotListen(f"{missing} must be given with {given}")
    if settings.tls_client_ca is not None and settings.tls_cert is None:
        raise CannotListen("--tls-client-ca must be given with --tls-cert and --tls-key")
    # A line for each protection.
    lacking = [
        *(["TLS (--tls-cert and --tls-key)"] if settings.tls_cert is None else []),
        *(["an access file"] if settings.access is None else []),
    ]
    _check_reach("--listen", settings.listen, lacking, settings.insecure)
    if settings.metrics_listen is not None:
        # There is no protection for it.
        _check_reach("--metrics-listen", settings.metrics_listen, ["TLS", "an access file"], settings.insecure)


def _check_reach(flag: str, listen: str, lacking: Sequence[str], insecure: bool) -> None:
    if not lacking or is_of_this_machine(listen):
        return
    if not insecure:
        raise CannotListen(
            f"{flag} {listen} can be reached by other machines, and lacks {' and '.join(lacking)}:"
            " listen on 127.0.0.1, or give --insecure to let in anybody who reaches it"
        )
    values = {"listen": listen, "lacks": " and ".join(lacking)}
    _log.warning("anybody who reaches the port is let in", extra={"values": values})


def open_ports(server: grpc.aio.Server, settings: Settings, tls: Reloaded[ServerTls] | None) -> str:
    """Listens on all ports. Returns the address in the network, with the port that was taken. Raises CannotListen."""
    host, _, port = settings.listen.rpartition(":")
    _try_address(host.strip("[]"), int(port), settings.listen)
    try:
        if tls is None:
            taken = server.add_insecure_port(settings.listen)
        else:
            taken = server.add_secure_port(settings.listen, credentials(tls, settings.tls_client_ca is not None))
    except RuntimeError as error:
        raise CannotListen(f"cannot listen on {settings.listen}") from error
    if settings.local_socket:
        _open_socket(server, settings.local_socket)
    return f"{host}:{taken}"


def is_of_this_machine(listen: str) -> bool:
    """Whether only this machine reaches the address. Raises CannotListen for a name that is unknown."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise CannotListen(f"cannot listen on {listen}: {getattr(error, 'strerror', None) or error}") from error
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found)


def _try_address(host: str, port: int, listen: str) -> None:
    """Binds and releases the address: the system says why that fails, which grpc does not."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CannotListen(f"cannot listen on {listen}: {error.strerror}") from error


def _open_socket(server: grpc.aio.Server, target: str) -> None:
    """gRPC removes the socket when the server stops."""
    path = Path(target.removeprefix(UNIX))
    _remove_stale(path, target)
    # The mask holds for the whole process, and for no longer than it takes to bind.
    mask = os.umask(SOCKET_MASK)
    try:
        _try_socket(path, target)
        server.add_insecure_port(UNIX + quote(str(path)))
    except RuntimeError as error:
        raise CannotListen(f"cannot listen on {target}") from error
    finally:
        os.umask(mask)


def _remove_stale(path: Path, target: str) -> None:
    """Removes the socket of a bank that was killed. gRPC would also remove one that is in use. Raises CannotListen."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise CannotListen(f"cannot listen on {target}: the file is there, and is not a socket")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(ANSWER_SECONDS)
            probe.connect(str(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CannotListen(f"cannot listen on {target}: {error.strerror or error}") from error
    else:
        raise CannotListen(f"cannot listen on {target}: another program does")


def _try_socket(path: Path, target: str) -> None:
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))
        path.unlink()
    except OSError as error:
        raise CannotListen(f"cannot listen on {target}: {error.strerror}") from error
