"""A caller with retry: withdraws money once, however often the call, or this program, has to be repeated.

    python examples/withdraw.py 127.0.0.1:50051 johns 200.50 USD --payment 6d1f5c1e-8f0b-4d57-9a37-0c1a6d0f3b11

The payment's id is a UUID that you store with the payment before you call. It becomes the request_id: sending the same
id again, from this process or the next, returns the first answer and moves nothing.
"""

from __future__ import annotations

import argparse
import re
import sys
from decimal import Decimal
from uuid import UUID

import grpc

from openbank.accounts.v1.accounts_service_pb2 import WithdrawRequest, WithdrawResponse
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.client import CHANNEL_OPTIONS, BankError, Retry, call_sync
from openbank.common.v1.money_pb2 import Money


def amount(text: str) -> tuple[int, int]:
    """Whole units and billionths of one, exactly."""
    found = re.fullmatch(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?", text)
    if not found:
        raise argparse.ArgumentTypeError("must be an amount such as 200.50")
    return int(found[1]), int((found[2] or "").ljust(9, "0"))


def show(money: Money) -> str:
    amount = money.units + Decimal(money.nanos) / 1_000_000_000
    return f"{amount.normalize():f} {money.currency_code}"


def report(retry: Retry) -> None:
    print(f"{retry.why}; again in {retry.retry_seconds:.1f} s", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("account_id")
    parser.add_argument("amount", type=amount)
    parser.add_argument("currency_code")
    parser.add_argument("--payment", type=UUID, required=True)
    flags = parser.parse_args()

    units, nanos = flags.amount
    request = WithdrawRequest(
        request_id=str(flags.payment),
        account_id=flags.account_id,
        amount=Money(currency_code=flags.currency_code, units=units, nanos=nanos),
    )
    with grpc.insecure_channel(flags.target, options=CHANNEL_OPTIONS) as channel:
        try:
            # Sends the request until the bank has decided, for a minute at most.
            paid: WithdrawResponse = call_sync(AccountsServiceStub(channel).Withdraw, request, on_retry=report)
        except BankError as error:
            # The bank's decision. It does not change, so do not send the request again.
            print(f"refused: {error.reason} {dict(error.metadata)}")
            return 1
        except grpc.RpcError:
            # The time is over, and the outcome is unknown. Run this again with the same payment.
            print("no answer yet")
            return 2
    print(f"{'was paid before' if paid.replayed else 'paid'}, balance {show(paid.account.balance)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
