"""openbank.transfers.v1.TransfersService."""

from __future__ import annotations

from openbank.commands.reversals import reverse_transfer
from openbank.commands.transfers import create_transfer
from openbank.domain.fields import Fields
from openbank.queries.paging import in_slices
from openbank.queries.transfers import get_transfer, list_transfers, transfers_listing
from openbank.rpc.bank import Bank
from openbank.rpc.call import Call
from openbank.rpc.convert.transfers import (
    fill_sent,
    fill_transfer,
    read_create_transfer,
    read_reverse_transfer,
    read_states,
)
from openbank.rpc.convert.values import read_page, read_position
from openbank.rpc.mutations import Mutation
from openbank.transfers.v1 import transfers_service_pb2 as messages

MUTATIONS = (
    Mutation("CreateTransfer", read_create_transfer, create_transfer, fill_sent),
    Mutation("ReverseTransfer", read_reverse_transfer, reverse_transfer, fill_sent),
)


class Transfers:
    def __init__(self, bank: Bank) -> None:
        self._reader_for = bank.reader_for
        self._tokens = bank.tokens

    async def GetTransfer(self, request: messages.GetTransferRequest, call: Call) -> messages.GetTransferResponse:
        fields, reader = Fields(), self._reader_for(call)
        transfer_id = fields.identifier("transfer_id", request.transfer_id)
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        answer = await get_transfer(reader, transfer_id, at)
        response = messages.GetTransferResponse(consistency_token=self._tokens.encode(answer.place))
        fill_transfer(response.transfer, answer.value)
        return response

    async def ListTransfers(self, request: messages.ListTransfersRequest, call: Call) -> messages.ListTransfersResponse:
        fields, reader = Fields(), self._reader_for(call)
        # A caller that may read its own only has to say of which account.
        account_id = fields.identifier("account_id", request.account_id, required=call.owner is not None)
        states = read_states(fields, request.states)
        wanted = read_page(fields, request, transfers_listing(reader, account_id, states))
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        page = await list_transfers(reader, account_id, states, wanted, at)
        response = messages.ListTransfersResponse(
            next_page_token=page.next_page_token, consistency_token=self._tokens.encode(page.place)
        )
        async for some in in_slices(reader, page.items):
            for transfer in some:
                fill_transfer(response.transfers.add(), transfer)
        return response
