"""TLS of the port that the bank listens on: its certificate and key, and the authority of its clients'."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from openbank.config import Settings
from openbank.reloading import BadFile, FileContents, Reloaded

CERT, KEY, CLIENT_CA = "--tls-cert", "--tls-key", "--tls-client-ca"
RSA_BITS_MIN = 2048
CURVES = (ec.SECP256R1, ec.SECP384R1)

Read = TypeVar("Read")


class ServerTls(NamedTuple):
    """What the next connections get."""

    configuration: grpc.ServerCertificateConfiguration
    not_after: datetime
    """When the certificate of the bank expires."""


def load_tls(settings: Settings) -> Reloaded[ServerTls] | None:
    """None without TLS. Raises BadFile."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    files = {CERT: settings.tls_cert, KEY: settings.tls_key}
    if settings.tls_client_ca is not None:
        files[CLIENT_CA] = settings.tls_client_ca

    def make(contents: FileContents) -> ServerTls:
        try:
            return _server_tls(contents)
        except _Bad as bad:
            raise BadFile(f"{bad.setting} {files[bad.setting]} {bad.why}") from None

    return Reloaded(files, make)


def credentials(tls: Reloaded[ServerTls], mutual: bool) -> grpc.ServerCredentials:
    """Credentials of one port: connections that begin after a change get what is new."""
    used = tls.current

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        current = tls.current
        if current is used:
            return None
        used = current
        return current.configuration

    # None for no change is not in its types.
    return grpc.dynamic_ssl_server_credentials(used.configuration, changed, mutual)  # type: ignore[arg-type]


class _Bad(Exception):
    def __init__(self, setting: str, why: str) -> None:
        super().__init__(setting, why)
        self.setting = setting
        self.why = why


def _server_tls(contents: FileContents) -> ServerTls:
    """Checks what gRPC takes without a word, and then refuses every connection for. Raises _Bad."""
    chain, key = contents[CERT], contents[KEY]
    certificate = _certificates(CERT, chain)[0]
    public = _parsed(CERT, "a certificate with a key of a known kind", certificate.public_key)
    private = _parsed(KEY, "a private key in PEM that is not encrypted", lambda: load_pem_private_key(key, None))
    _check_key(private)
    if public != private.public_key():
        raise _Bad(KEY, f"is not the key of the certificate {CERT}")
    _check_time(certificate)
    client_ca = contents.get(CLIENT_CA)
    if client_ca is not None:
        _certificates(CLIENT_CA, client_ca)
    configuration = grpc.ssl_server_certificate_configuration([(key, chain)], client_ca)
    return ServerTls(configuration, certificate.not_valid_after_utc)


def _check_key(key: object) -> None:
    """Clients that use gRPC's C library, of which Python's is one, take no others."""
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= RSA_BITS_MIN:
        return
    if not (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, CURVES)):
        raise _Bad(KEY, f"must be of RSA with {RSA_BITS_MIN} bits or more, or of EC on the curve P-256 or P-384")


def _check_time(certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        raise _Bad(CERT, f"is not valid before {begins:%Y-%m-%dT%H:%M:%SZ}")
    if now >= ends:
        raise _Bad(CERT, f"has expired at {ends:%Y-%m-%dT%H:%M:%SZ}")


def _certificates(setting: str, data: bytes) -> Sequence[x509.Certificate]:
    return _parsed(setting, "certificates in PEM", lambda: x509.load_pem_x509_certificates(data))


def _parsed(setting: str, what: str, parse: Callable[[], Read]) -> Read:
    try:
        return parse()
    # TypeError is for a key that needs a password.
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise _Bad(setting, f"must hold {what}") from None
