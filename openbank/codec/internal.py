"""The event types that the bank keeps for itself."""

from __future__ import annotations

from openbank.codec.event_type import EventType
from openbank.codec.values import check_currency, money_message, money_of
from openbank.domain.internal import AccountNumberReserved, RequestClaimed
from openbank.domain.movements import OpenAccount
from openbank.storage.v1 import account_number_pb2, request_pb2


def _claimed(event: RequestClaimed) -> request_pb2.RequestClaimed:
    return request_pb2.RequestClaimed(
        rpc=event.rpc,
        request_hash=event.request_hash,
        aggregate_id=event.aggregate_id,
        account_number=event.account_number,
    )


def _from_claimed(message: request_pb2.RequestClaimed, _: str) -> RequestClaimed:
    return RequestClaimed(message.rpc, message.request_hash, message.aggregate_id, message.account_number)


def _reserved(event: AccountNumberReserved) -> account_number_pb2.AccountNumberReserved:
    command = event.command
    message = account_number_pb2.AccountNumberReserved(
        account_id=command.account_id,
        owner_id=command.owner_id,
        account_number=command.account_number,
        currency_code=command.initial_deposit.currency.code,
        currency_exponent=command.initial_deposit.currency.exponent,
        initial_deposit=money_message(command.initial_deposit),
        request_id=event.request_id,
        request_hash=event.request_hash,
        correlation_id=event.correlation_id,
        actor=event.actor,
    )
    message.reserve_time.FromMicroseconds(event.reserve_time)
    return message


def _from_reserved(message: account_number_pb2.AccountNumberReserved, _: str) -> AccountNumberReserved:
    deposit = money_of(message.initial_deposit, message.currency_exponent)
    check_currency(message.initial_deposit, message.currency_code)
    return AccountNumberReserved(
        OpenAccount(message.account_id, message.owner_id, message.account_number, deposit),
        message.request_id,
        message.request_hash,
        message.correlation_id,
        message.reserve_time.ToMicroseconds(),
        message.actor,
    )


ROWS = (
    EventType(
        RequestClaimed,
        request_pb2.RequestClaimed,
        _claimed,
        _from_claimed,
        published_as=None,
    ),
    EventType(
        AccountNumberReserved,
        account_number_pb2.AccountNumberReserved,
        _reserved,
        _from_reserved,
        published_as=None,
    ),
)
