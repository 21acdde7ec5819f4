"""The services of the bank, listed once.

What is registered, what reflection and health report, what the hostile tests call and what docs/reference lists all
follow from SERVICES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from openbank.accounts.v1 import accounts_service_pb2
from openbank.batches.v1 import batches_service_pb2
from openbank.holds.v1 import holds_service_pb2
from openbank.integration.v1 import integration_events_service_pb2
from openbank.operations.v1 import quarantine_service_pb2, sinks_service_pb2, views_service_pb2
from openbank.persons.v1 import persons_service_pb2
from openbank.rpc import accounts, holds, mutations, persons, transfers
from openbank.rpc.accounts import Accounts
from openbank.rpc.bank import Bank
from openbank.rpc.batches import Batches
from openbank.rpc.calls import Calls
from openbank.rpc.handlers import Methods, Stream, Unary, handlers
from openbank.rpc.holds import Holds
from openbank.rpc.integration_events import IntegrationEvents
from openbank.rpc.mutations import Mutation
from openbank.rpc.persons import Persons
from openbank.rpc.quarantine import QuarantineDesk
from openbank.rpc.sinks import Sinks
from openbank.rpc.transfers import Transfers
from openbank.rpc.views import ViewsDesk
from openbank.transfers.v1 import transfers_service_pb2


class Service(NamedTuple):
    descriptor: ServiceDescriptor
    servicer: Callable[[Bank], object]
    """Has the methods that are no rows, each under the name of its RPC."""
    mutations: Sequence[Mutation] = ()


SERVICES = (
    Service(persons_service_pb2.DESCRIPTOR.services_by_name["PersonsService"], Persons, persons.MUTATIONS),
    Service(accounts_service_pb2.DESCRIPTOR.services_by_name["AccountsService"], Accounts, accounts.MUTATIONS),
    Service(transfers_service_pb2.DESCRIPTOR.services_by_name["TransfersService"], Transfers, transfers.MUTATIONS),
    Service(holds_service_pb2.DESCRIPTOR.services_by_name["HoldsService"], Holds, holds.MUTATIONS),
    Service(batches_service_pb2.DESCRIPTOR.services_by_name["BatchesService"], Batches),
    Service(integration_events_service_pb2.DESCRIPTOR.services_by_name["IntegrationEventsService"], IntegrationEvents),
    Service(sinks_service_pb2.DESCRIPTOR.services_by_name["SinksService"], Sinks),
    Service(quarantine_service_pb2.DESCRIPTOR.services_by_name["QuarantineService"], QuarantineDesk),
    Service(views_service_pb2.DESCRIPTOR.services_by_name["ViewsService"], ViewsDesk),
)
DESCRIPTORS = [service.descriptor for service in SERVICES]
NAMES = [descriptor.full_name for descriptor in DESCRIPTORS]


def bank_methods(bank: Bank, calls: Calls) -> Methods:
    """The methods of all services."""
    by_path: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for service in SERVICES:
        by_path |= handlers(service.descriptor, _methods(service, bank), calls, bank.write_side.clock, bank.gate)
    return Methods(by_path, calls.backlog)


def _methods(service: Service, bank: Bank) -> Mapping[str, Unary | Stream]:
    """Every RPC of the contract. Raises AttributeError for one that is neither a row nor a method."""
    rows = mutations.methods(service.descriptor, service.mutations, bank.write_side, bank.tokens)
    servicer = service.servicer(bank)
    others = [method.name for method in service.descriptor.methods if method.name not in rows]
    return {**rows, **{name: getattr(servicer, name) for name in others}}
