"""For Python programs that call the bank: calls that are sent again, and watches that resume, by themselves.

`call`, and `call_sync` without asyncio, send a request until the bank has decided:

    answer = await call(AccountsServiceStub(channel).Deposit, DepositRequest(account_id="johns", amount=amount))

They make the request_id, so that the deposit is done once however often it is sent. What the bank refuses is raised as
BankError, with its reason, metadata and violations. An error without an ErrorInfo of domain `openbank` is not the
bank's decision, whatever its code: such calls are sent again, with the same request_id, until the time is over.

`watch` is for asyncio, `watch_sync` for everything else. Both take the request of WatchAccountEvents,
WatchPersonEvents or WatchCloudEvents and give the responses, without end, or until caught up where the request says so:

    async with grpc.aio.insecure_channel("127.0.0.1:50051", options=CHANNEL_OPTIONS) as channel:
        async for response in watch(channel, WatchAccountEventsRequest(resume_token=kept_token)):
            with database.transaction():
                for event in response.events:
                    ...
                keep(response.resume_token)

An interruption is no end: of the connection, of the server, or of its heartbeats for three intervals. The watch starts
again where it was, after growing delays. Each response comes once, and no event is left out or comes twice.

**To have the effect of each event exactly once**, also when your own process ends at any moment, keep `resume_token`
in the transaction that has the effects, as above, and start from it. A response is the unit: there is no token between
its events. Keep the tokens of responses without events too; they spare a restart the events that your filter leaves
out.

What the bank refuses for good (a mistaken request, a token of another bank, no permission) is raised, as the
grpc.RpcError it is; `bank_error` reads it. What a proxy says in place of the bank ends no
watch, except for UNIMPLEMENTED after five minutes with no other answer.
"""

from openbank.client.call import Retry, call, call_sync
from openbank.client.errors import BankError, Violation, bank_error
from openbank.client.resumption import Interruption
from openbank.client.watch import CHANNEL_OPTIONS, watch
from openbank.client.watch_sync import watch_sync

__all__ = [
    "CHANNEL_OPTIONS",
    "BankError",
    "Interruption",
    "Retry",
    "Violation",
    "bank_error",
    "call",
    "call_sync",
    "watch",
    "watch_sync",
]
