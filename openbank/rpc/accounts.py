"""openbank.accounts.v1.AccountsService."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openbank.accounts.v1 import accounts_service_pb2 as messages
from openbank.commands.accounts import (
    close_account,
    deposit,
    freeze_account,
    open_account,
    set_overdraft_limit,
    set_spending_limits,
    unfreeze_account,
    withdraw,
)
from openbank.commands.reversals import reverse_movement
from openbank.domain.account import Account
from openbank.domain.fields import Fields
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.streams import ACCOUNT
from openbank.feeds.filter import Filter
from openbank.queries.accounts import (
    account_events_listing,
    accounts_listing,
    get_account,
    get_account_by_number,
    list_account_events,
    list_accounts_by_owner,
)
from openbank.queries.movements import list_movements, movements_listing
from openbank.queries.paging import encoded, in_slices
from openbank.queries.statements import get_balance, get_statement, read_statement_request
from openbank.rpc.bank import Bank
from openbank.rpc.call import Call
from openbank.rpc.convert.account_commands import (
    read_close_account,
    read_deposit,
    read_freeze_account,
    read_open_account,
    read_reverse_movement,
    read_set_overdraft_limit,
    read_set_spending_limits,
    read_unfreeze_account,
    read_withdraw,
)
from openbank.rpc.convert.accounts import EVENTS, EncodedAccounts, encode_account_event, fill_account
from openbank.rpc.convert.statements import (
    fill_balance,
    fill_entry,
    fill_statement,
    read_filter,
    read_moment,
    read_period,
)
from openbank.rpc.convert.values import read_page, read_position
from openbank.rpc.convert.wire import tag, text
from openbank.rpc.feeds import event_form, read_filter_ids, read_filter_values, read_heartbeat
from openbank.rpc.handlers import Write
from openbank.rpc.mutations import Mutation

_TOKEN_OF_GET = tag(messages.GetAccountResponse.DESCRIPTOR.fields_by_name["consistency_token"])


def _fill(response: Any, account: Versioned[Account]) -> None:
    fill_account(response.account, account)


MUTATIONS = (
    Mutation("OpenAccount", read_open_account, open_account, _fill),
    Mutation("Deposit", read_deposit, deposit, _fill),
    Mutation("Withdraw", read_withdraw, withdraw, _fill),
    Mutation("ReverseMovement", read_reverse_movement, reverse_movement, _fill),
    Mutation("FreezeAccount", read_freeze_account, freeze_account, _fill),
    Mutation("UnfreezeAccount", read_unfreeze_account, unfreeze_account, _fill),
    Mutation("CloseAccount", read_close_account, close_account, _fill),
    Mutation("SetOverdraftLimit", read_set_overdraft_limit, set_overdraft_limit, _fill),
    Mutation("SetSpendingLimits", read_set_spending_limits, set_spending_limits, _fill),
)


class Accounts:
    def __init__(self, bank: Bank) -> None:
        self._reader_for = bank.reader_for
        self._watches = bank.watches
        self._tokens = bank.tokens
        self._encoded = EncodedAccounts()

    async def GetAccount(self, request: messages.GetAccountRequest, call: Call) -> bytes:
        fields, reader = Fields(), self._reader_for(call)
        account_id = fields.identifier("account_id", request.account_id)
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        answer = await get_account(reader, account_id, at)
        return self._encoded.encode(answer.value) + text(_TOKEN_OF_GET, self._tokens.encode(answer.place))

    async def GetAccountByNumber(
        self, request: messages.GetAccountByNumberRequest, call: Call
    ) -> messages.GetAccountByNumberResponse:
        fields, reader = Fields(), self._reader_for(call)
        number = fields.account_number("account_number", request.account_number)
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        answer = await get_account_by_number(reader, number, at)
        response = messages.GetAccountByNumberResponse(consistency_token=self._tokens.encode(answer.place))
        fill_account(response.account, answer.value)
        return response

    async def ListAccountsByOwner(self, request: messages.ListAccountsByOwnerRequest, call: Call) -> bytes:
        fields, reader = Fields(), self._reader_for(call)
        owner_id = fields.identifier("owner_id", request.owner_id)
        wanted = read_page(fields, request, accounts_listing(reader, owner_id))
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        page = await list_accounts_by_owner(reader, owner_id, wanted, at)
        rest = messages.ListAccountsByOwnerResponse(
            next_page_token=page.next_page_token, consistency_token=self._tokens.encode(page.place)
        )
        return await encoded(reader, page.items, self._encoded.encode_all) + rest.SerializeToString()

    async def ListAccountEvents(self, request: messages.ListAccountEventsRequest, call: Call) -> bytes:
        fields, reader = Fields(), self._reader_for(call)
        account_id = fields.identifier("account_id", request.account_id)
        wanted = read_page(fields, request, account_events_listing(reader, account_id))
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        page = await list_account_events(reader, account_id, wanted, at)
        rest = messages.ListAccountEventsResponse(
            next_page_token=page.next_page_token, consistency_token=self._tokens.encode(page.place)
        )

        def encode(events: Sequence[RecordedEvent]) -> bytes:
            return b"".join([encode_account_event(event, call.shows_actors) for event in events])

        return await encoded(reader, page.items, encode) + rest.SerializeToString()

    async def ListMovements(self, request: messages.ListMovementsRequest, call: Call) -> messages.ListMovementsResponse:
        fields, reader = Fields(), self._reader_for(call)
        filter = read_filter(fields, request, call.owner is not None)
        wanted = read_page(fields, request, movements_listing(reader, filter))
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        page = await list_movements(reader, filter, wanted, at)
        response = messages.ListMovementsResponse(
            next_page_token=page.next_page_token, consistency_token=self._tokens.encode(page.place)
        )
        async for some in in_slices(reader, page.items):
            for movement in some:
                fill_entry(response.movements.add(account_id=movement.account_id).entry, movement)
        return response

    async def GetAccountStatement(
        self, request: messages.GetAccountStatementRequest, call: Call
    ) -> messages.GetAccountStatementResponse:
        now = call.method.clock()
        fields, reader = Fields(), self._reader_for(call)
        account_id = fields.identifier("account_id", request.account_id)
        period = read_period(fields, request)
        page = request.page_size, request.page_token
        wanted = read_statement_request(fields, reader, account_id, period, *page)
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        answer = await get_statement(reader, wanted, now, at)
        response = messages.GetAccountStatementResponse(consistency_token=self._tokens.encode(answer.place))
        fill_statement(response, answer.value)
        async for some in in_slices(reader, answer.value.entries):
            for movement in some:
                fill_entry(response.entries.add(), movement)
        return response

    async def GetAccountBalance(
        self, request: messages.GetAccountBalanceRequest, call: Call
    ) -> messages.GetAccountBalanceResponse:
        fields, reader = Fields(), self._reader_for(call)
        account_id = fields.identifier("account_id", request.account_id)
        time, revision = read_moment(fields, request)
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        answer = await get_balance(reader, account_id, time=time, revision=revision, at=at)
        response = messages.GetAccountBalanceResponse(consistency_token=self._tokens.encode(answer.place))
        fill_balance(response, answer.value)
        return response

    async def WatchAccountEvents(self, request: messages.WatchAccountEventsRequest, call: Call, write: Write) -> None:
        fields = Fields()
        start = await self._watches.read_start(fields, request, call)
        types = read_filter_values(fields, "event_types", request.event_types)
        filter = Filter(
            frozenset({ACCOUNT}),
            accounts=read_filter_ids(fields, "account_ids", request.account_ids),
            persons=read_filter_ids(fields, "owner_ids", request.owner_ids),
            types=EVENTS.read_types(fields, "event_types", types),
            form=event_form(call),
        )
        heartbeat_seconds = read_heartbeat(fields, request)
        fields.check()
        await self._watches.watch(
            call,
            start,
            filter,
            request.stop_when_caught_up,
            heartbeat_seconds,
            messages.WatchAccountEventsResponse,
            write,
        )
