"""The client library: calls that retry until the bank has decided, and watches that resume by themselves.

`call`, and `call_sync` without asyncio, send a request until the bank has decided:

    answer = await call(AccountsServiceStub(channel).Deposit, DepositRequest(account_id="johns", amount=amount))

They add a request_id, so that the deposit is done once, in however many tries. What the bank refuses is raised as
BankError, with its reason, metadata and violations. An error without an ErrorInfo of domain `openbank` is not the
bank's decision, whatever its code: the call is sent again, with the same request_id, until the time is over.

`watch` is for asyncio, `watch_sync` for everything else. Both take a WatchAccountEventsRequest,
WatchPersonEventsRequest or WatchCloudEventsRequest, and yield the responses: without end, or until caught up if the
request says so:

    async with connect("127.0.0.1:50051") as channel:
        async for response in watch(channel, WatchAccountEventsRequest(resume_token=kept_token)):
            with database.transaction():
                for event in response.events:
                    ...
                keep(response.resume_token)

A watch continues after an interruption: a lost connection, a server that stops, or no heartbeat for three intervals.
It resumes where it was, after growing delays. Each response comes once; no event is left out or repeated.

**To process each event exactly once**, also when your own process can end at any moment, store `resume_token` in the
transaction that has the effects, as above, and start from it. The unit is a response: there is no token between its
events. Store the tokens of responses without events too: a restart then skips the events that your filter leaves out.

`connect`, and `connect_sync` without asyncio, make the channel: plain, by TLS or mutual TLS, or to a local socket, with
a token or without:

    connect("bank.example:50051", tls_ca="ca.pem", token_file="/run/secrets/bank-token")

What the bank refuses permanently (a mistaken request, a token of another bank, no permission) is raised as the
grpc.RpcError that it is; `bank_error` reads it. An answer of a proxy ends no watch, with one exception: UNIMPLEMENTED,
after five minutes with no other answer.
"""

from openbank.client.call import Retry, call, call_sync
from openbank.client.channel import BadCredentials, connect, connect_sync
from openbank.client.errors import BankError, Violation, bank_error
from openbank.client.resumption import Interruption
from openbank.client.watch import CHANNEL_OPTIONS, watch
from openbank.client.watch_sync import watch_sync

__all__ = [
    "CHANNEL_OPTIONS",
    "BadCredentials",
    "BankError",
    "Interruption",
    "Retry",
    "Violation",
    "bank_error",
    "call",
    "call_sync",
    "connect",
    "connect_sync",
    "watch",
    "watch_sync",
]
