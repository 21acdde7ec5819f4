"""openbank.operations.v1.ViewsService."""

from __future__ import annotations

from openbank.operations.v1 import views_rebuild_pb2
from openbank.operations.v1 import views_service_pb2 as messages
from openbank.rpc.bank import Bank
from openbank.rpc.call import Call
from openbank.rpc.convert.values import fill_time
from openbank.views.rebuild import Filling


class ViewsDesk:
    def __init__(self, bank: Bank) -> None:
        self._desk = bank.rebuild

    async def StartRebuild(self, _: messages.StartRebuildRequest, __: Call) -> messages.StartRebuildResponse:
        await self._desk.start()
        response = messages.StartRebuildResponse()
        filling = self._desk.filling()
        if filling is not None:
            _fill(response.rebuild, filling)
        return response

    async def GetRebuild(self, _: messages.GetRebuildRequest, __: Call) -> messages.GetRebuildResponse:
        head = await self._desk.head()
        serving = self._desk.serving
        response = messages.GetRebuildResponse(serving_position=serving.position, head_position=head.position)
        response.complete = self._desk.complete
        filling = self._desk.filling()
        if filling is not None:
            _fill(response.rebuild, filling)
        return response


def _fill(message: views_rebuild_pb2.ViewsRebuild, filling: Filling) -> None:
    record = filling.record
    fill_time(message.start_time, record.start_time)
    if record.end_time is None:
        message.state = views_rebuild_pb2.VIEWS_REBUILD_STATE_RUNNING
        message.position = record.place.position
        message.positions_per_second = filling.per_second or 0
        if filling.seconds_left is not None:
            message.remaining_time.seconds = filling.seconds_left
        return
    fill_time(message.end_time, record.end_time)
    message.failure = record.failure
    message.state = (
        views_rebuild_pb2.VIEWS_REBUILD_STATE_FAILED
        if record.failure
        else views_rebuild_pb2.VIEWS_REBUILD_STATE_SUCCEEDED
    )
