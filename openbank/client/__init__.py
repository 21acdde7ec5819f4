"""Following the bank's events, for those who call it: a watch that resumes by itself.

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

What another try would not change (a mistaken request, a token of another bank, no permission) is raised, as the
grpc.RpcError it is.
"""

from openbank.client.resumption import Interruption
from openbank.client.watch import CHANNEL_OPTIONS, watch
from openbank.client.watch_sync import watch_sync

__all__ = ["CHANNEL_OPTIONS", "Interruption", "watch", "watch_sync"]
