"""Which permission each method of the bank needs."""

from __future__ import annotations

from collections.abc import Mapping

from openbank.common.v1 import access_pb2
from openbank.rpc.services import DESCRIPTORS


def permissions() -> Mapping[str, str]:
    """By the full name of the method: "openbank.accounts.v1.AccountsService/Deposit"."""
    return {
        f"{service.full_name}/{method.name}": method.GetOptions().Extensions[access_pb2.access].permission
        for service in DESCRIPTORS
        for method in service.methods
    }
