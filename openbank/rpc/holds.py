"""openbank.holds.v1.HoldsService."""

from __future__ import annotations

from typing import Any

from openbank.commands.holds import HoldOfAccount, capture_hold, place_hold, release_hold
from openbank.domain.fields import Fields
from openbank.domain.versioned import Versioned
from openbank.holds.v1 import holds_service_pb2 as messages
from openbank.queries.holds import get_hold, holds_listing, list_holds
from openbank.queries.paging import in_slices
from openbank.rpc.bank import Bank
from openbank.rpc.call import Call
from openbank.rpc.convert.accounts import fill_account
from openbank.rpc.convert.holds import (
    fill_hold,
    read_capture_hold,
    read_place_hold,
    read_release_hold,
    read_states,
)
from openbank.rpc.convert.values import read_page, read_position
from openbank.rpc.feeds import read_filter_values
from openbank.rpc.mutations import Mutation


def _fill(response: Any, written: Versioned[HoldOfAccount]) -> None:
    fill_hold(response.hold, written.state.hold)
    fill_account(response.account, Versioned(written.state.account, *written[1:]))


MUTATIONS = (
    Mutation("PlaceHold", read_place_hold, place_hold, _fill),
    Mutation("CaptureHold", read_capture_hold, capture_hold, _fill),
    Mutation("ReleaseHold", read_release_hold, release_hold, _fill),
)


class Holds:
    def __init__(self, bank: Bank) -> None:
        self._reader_for = bank.reader_for
        self._tokens = bank.tokens

    async def GetHold(self, request: messages.GetHoldRequest, call: Call) -> messages.GetHoldResponse:
        fields, reader = Fields(), self._reader_for(call)
        hold_id = fields.identifier("hold_id", request.hold_id)
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        answer = await get_hold(reader, hold_id, at)
        response = messages.GetHoldResponse(consistency_token=self._tokens.encode(answer.place))
        fill_hold(response.hold, answer.value)
        return response

    async def ListHolds(self, request: messages.ListHoldsRequest, call: Call) -> messages.ListHoldsResponse:
        fields, reader = Fields(), self._reader_for(call)
        account_id = fields.identifier("account_id", request.account_id)
        states = read_states(fields, "states", read_filter_values(fields, "states", request.states))
        wanted = read_page(fields, request, holds_listing(reader, account_id, states))
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        page = await list_holds(reader, account_id, states, wanted, at)
        response = messages.ListHoldsResponse(
            next_page_token=page.next_page_token, consistency_token=self._tokens.encode(page.place)
        )
        async for some in in_slices(reader, page.items):
            for hold in some:
                fill_hold(response.holds.add(), hold)
        return response
