"""Accounts and their events, as responses have them."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from openbank.accounts.v1 import account_pb2
from openbank.accounts.v1.account_events_pb2 import AccountEvent, AccountEventType, AccountOpened
from openbank.accounts.v1.accounts_service_pb2 import (
    GetAccountResponse,
)
from openbank.domain.account import Account
from openbank.domain.controls import PLAIN, AccountState
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import RecordedEvent
from openbank.rpc.convert.events import Balances, Events
from openbank.rpc.convert.values import (
    fill_money,
    fill_time,
)
from openbank.storage.v1.account_payload_pb2 import AccountOpenedPayload, AccountPayload
from openbank.views.port import Listed

EVENTS = Events(AccountEvent, AccountEventType)
_OPENED = AccountOpened.DESCRIPTOR.full_name
ENCODED_MAX = 10_000
"""The most accounts kept encoded, about 250 bytes each beside the account, and the most in pages.
A cache that is full is cleared."""

STATES = {
    AccountState.ACTIVE: account_pb2.ACCOUNT_STATE_ACTIVE,
    AccountState.FROZEN: account_pb2.ACCOUNT_STATE_FROZEN,
    AccountState.CLOSED: account_pb2.ACCOUNT_STATE_CLOSED,
    AccountState.DEBITS_FROZEN: account_pb2.ACCOUNT_STATE_DEBITS_FROZEN,
    AccountState.CREDITS_FROZEN: account_pb2.ACCOUNT_STATE_CREDITS_FROZEN,
}


def fill_account(message: account_pb2.Account, account: Versioned[Account]) -> None:
    state = account.state
    message.account_id = state.account_id
    message.owner_id = state.owner_id
    message.account_number = state.account_number
    fill_money(message.balance, state.balance)
    if state.controls is PLAIN:
        message.available_balance.CopyFrom(message.balance)
        message.state = account_pb2.ACCOUNT_STATE_ACTIVE
    else:
        _fill_controls(message, state)
    fill_time(message.create_time, account.create_time)
    fill_time(message.update_time, account.update_time)
    message.revision = account.revision


def _fill_controls(message: account_pb2.Account, account: Account) -> None:
    controls = account.controls
    message.state = STATES[controls.state]
    fill_money(message.available_balance, account.available)
    if controls.held:
        fill_money(message.held_balance, account.money(controls.held))
    if controls.overdraft_limit:
        fill_money(message.overdraft_limit, account.money(controls.overdraft_limit))
    message.freeze_reason = controls.freeze_reason
    if controls.close_time is not None:
        fill_time(message.close_time, controls.close_time)
    if limits := controls.spending:
        message.spending_limits.time_zone = limits.time_zone
        if limits.per_transaction is not None:
            fill_money(message.spending_limits.per_transaction, account.money(limits.per_transaction))
        if limits.per_day is not None:
            fill_money(message.spending_limits.per_day, account.money(limits.per_day))


class EncodedAccounts:
    """Accounts as they stand in a response that has nothing else: as the field 1, be it one account or many.

    An account at a revision is encoded once, unless the views were wrong about it and were rebuilt, and a page of
    accounts once while it stays as it is. Encoded messages that follow one another are one message, so that a response
    is its accounts' bytes and those of the rest.
    """

    def __init__(self) -> None:
        self._encoded: dict[str, tuple[Versioned[Account], bytes]] = {}
        self._pages: dict[int, tuple[Sequence[Listed[Account]], bytes]] = {}
        """By the place of the page's first account."""
        self._in_pages = 0
        """The number of accounts in all pages."""

    def encode(self, account: Versioned[Account]) -> bytes:
        account_id = account.state.account_id
        known = self._encoded.get(account_id)
        if known is not None and (known[0] is account or known[0] == account):
            return known[1]
        response = GetAccountResponse()
        fill_account(response.account, account)
        if len(self._encoded) >= ENCODED_MAX:
            self._encoded.clear()
        encoded = response.SerializeToString()
        self._encoded[account_id] = account, encoded
        return encoded

    def encode_all(self, accounts: Sequence[Listed[Account]]) -> bytes:
        if not accounts:
            return b""
        first = accounts[0].position
        known = self._pages.get(first)
        if known is not None and known[0] == accounts:
            return known[1]
        encoded = b"".join([self.encode(one.resource) for one in accounts])
        self._in_pages += len(accounts) - (len(known[0]) if known else 0)
        if self._in_pages > ENCODED_MAX:
            self._pages.clear()
            self._in_pages = len(accounts)
        self._pages[first] = accounts, encoded
        return encoded


def encode_account_event(event: RecordedEvent, shows_actor: bool) -> bytes:
    """The event as it stands in a response that has nothing else."""
    return EVENTS.encode(event, shows_actor, event.metadata.owner_id, _balances(event))


def _balances(event: RecordedEvent) -> Balances | None:
    """The balances as the payload has them, also that of a type which only a newer version knows; None without one."""
    if event.type == _OPENED:
        balance = AccountOpenedPayload.FromString(event.data).balance_after
        return Balances(balance, balance)
    try:
        payload = AccountPayload.FromString(event.data)
    except DecodeError:
        return None
    return Balances(payload.balance_after, payload.available_after or payload.balance_after)
