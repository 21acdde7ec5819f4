"""Everything in the contract is served: a server that lacks an RPC does not start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest
from openbank.integration.v1.cloud_event_pb2 import CloudEvent
from openbank.rpc import services
from openbank.rpc.calls import Calls
from openbank.rpc.guards import KnownFields
from openbank.rpc.services import SERVICES, bank_methods

BANK: Any = SimpleNamespace(
    write_side=SimpleNamespace(clock=lambda: 0),
    reader_for=None,
    watches=None,
    tokens=None,
    sinks=None,
    quarantine=None,
    gate=None,
    rebuild=None,
)


def test_every_rpc_of_the_contract_is_a_row_or_a_method() -> None:
    methods = bank_methods(BANK, Calls(1))
    for service in SERVICES:
        for method in service.descriptor.methods:
            path = f"/{service.descriptor.full_name}/{method.name}"
            details: Any = SimpleNamespace(method=path)
            assert methods.service(details)


@pytest.mark.parametrize(
    "service", [service for service in SERVICES if service.mutations], ids=lambda one: one.servicer.__name__
)
def test_an_rpc_without_a_row_or_a_method_stops_the_start(
    service: services.Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten, *others = service.mutations
    monkeypatch.setattr(services, "SERVICES", [service._replace(mutations=others)])
    with pytest.raises(AttributeError, match=forgotten.name):
        bank_methods(BANK, Calls(1))


def test_a_mutation_may_not_have_a_map_in_which_unknown_fields_would_go_unseen() -> None:
    KnownFields(WatchAccountEventsRequest.DESCRIPTOR)
    with pytest.raises(ValueError, match="is a map"):
        KnownFields(CloudEvent.DESCRIPTOR)
