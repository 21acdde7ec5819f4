"""The calls that are measured: their full methods, and requests for them."""

from __future__ import annotations

from benchmarks.load import REQUEST_ID
from openbank.accounts.v1 import accounts_service_pb2 as messages
from openbank.batches.v1 import batches_service_pb2 as batches
from openbank.common.v1.money_pb2 import Money
from openbank.transfers.v1 import transfers_service_pb2 as transfers

SERVICE = messages.DESCRIPTOR.services_by_name["AccountsService"]

PAYMENT = Money(currency_code="USD", units=12, nanos=500_000_000)
CENT = Money(currency_code="USD", nanos=10_000_000)

CREATE_TRANSFER = f"/{transfers.DESCRIPTOR.services_by_name['TransfersService'].full_name}/CreateTransfer"
EXECUTE_BATCH = f"/{batches.DESCRIPTOR.services_by_name['BatchesService'].full_name}/ExecuteBatch"


def path(method: str) -> str:
    return f"/{SERVICE.full_name}/{method}"


def account_id(number: int) -> str:
    """As long as the ids that the bank makes."""
    return f"account-{number:028}"


def owner_id(number: int) -> str:
    return f"person-{number:029}"


def deposit(account: int, request_id: str = REQUEST_ID) -> messages.DepositRequest:
    return messages.DepositRequest(
        request_id=request_id, account_id=account_id(account), amount=PAYMENT, description="Salary deposit"
    )


def transfer(account: int, to: int) -> transfers.CreateTransferRequest:
    return transfers.CreateTransferRequest(
        request_id=REQUEST_ID,
        source_account_id=account_id(account),
        destination_account_id=account_id(to),
        amount=CENT,
        description="Rent",
    )


def independent(first: int, count: int) -> batches.ExecuteBatchRequest:
    """Deposits to as many accounts, from the one with this number on."""
    commands = [batches.BatchCommand(deposit=deposit(first + number)) for number in range(count)]
    return batches.ExecuteBatchRequest(mode=batches.BATCH_MODE_INDEPENDENT, commands=commands)


def atomic(account: int, count: int) -> batches.ExecuteBatchRequest:
    """As many deposits to one account."""
    command = batches.BatchCommand(deposit=deposit(account, request_id=""))
    return batches.ExecuteBatchRequest(
        request_id=REQUEST_ID, mode=batches.BATCH_MODE_ATOMIC, commands=[command] * count
    )


def get_account(account: int) -> messages.GetAccountRequest:
    return messages.GetAccountRequest(account_id=account_id(account))


def list_accounts(owner: int) -> messages.ListAccountsByOwnerRequest:
    return messages.ListAccountsByOwnerRequest(owner_id=owner_id(owner), page_size=50)
