"""An operator's rebuild of the views, and the lines printed about it."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator

from openbank.cli.bank import RemoteBank
from openbank.cli.errors import EXIT_NO, CommandFailed
from openbank.cli.output.printout import Printout, in_words
from openbank.cli.output.words import time_text
from openbank.cli.progress import progress
from openbank.cli.terminal import shown
from openbank.operations.v1 import views_service_pb2 as messages
from openbank.operations.v1.views_rebuild_pb2 import VIEWS_REBUILD_STATE_RUNNING, ViewsRebuild, ViewsRebuildState
from openbank.operations.v1.views_service_pb2_grpc import ViewsServiceStub

LOOK_SECONDS = 0.5


def _rebuild(bank: RemoteBank, flags: Namespace) -> Printout:
    stub = ViewsServiceStub(bank.channel)
    if not flags.status:
        bank.ask(stub.StartRebuild, messages.StartRebuildRequest())
    response = bank.ask(stub.GetRebuild, messages.GetRebuildRequest())
    if flags.wait:
        response = _ended(bank, response)
        if response.rebuild.failure:
            raise CommandFailed(f"the rebuild has failed: {shown(response.rebuild.failure)}", EXIT_NO)
    return in_words(response, _lines(response))


def _ended(bank: RemoteBank, response: messages.GetRebuildResponse) -> messages.GetRebuildResponse:
    """The response once the rebuild has ended."""
    with progress() as report:
        while response.rebuild.state == VIEWS_REBUILD_STATE_RUNNING:
            report("rebuilding", min(response.rebuild.position / max(response.head_position, 1), 1.0))
            time.sleep(LOOK_SECONDS)
            bank.restart_clock()
            response = bank.ask(ViewsServiceStub(bank.channel).GetRebuild, messages.GetRebuildRequest())
    return response


def _lines(response: messages.GetRebuildResponse) -> Iterator[str]:
    if response.HasField("rebuild"):
        yield from _progress(response.rebuild, response.head_position)
    else:
        yield "no rebuild"
    yield f"  serving   views at position {response.serving_position} of {response.head_position}"
    if not response.complete:
        yield "  lacking   movements: an earlier version wrote these views, a rebuild adds them"


def _progress(rebuild: ViewsRebuild, head: int) -> Iterator[str]:
    yield f"rebuild is {ViewsRebuildState.Name(rebuild.state).removeprefix('VIEWS_REBUILD_STATE_')}"
    yield f"  started   {time_text(rebuild.start_time)}"
    if rebuild.HasField("end_time"):
        yield f"  ended     {time_text(rebuild.end_time)}"
        if rebuild.failure:
            yield f"  because   {rebuild.failure}"
        return
    yield f"  reached   position {rebuild.position} of {head}"
    if rebuild.positions_per_second:
        yield f"  speed     {rebuild.positions_per_second} positions a second"
    if rebuild.HasField("remaining_time"):
        yield f"  remains   about {rebuild.remaining_time.seconds} s"


ACTIONS = {"rebuild": _rebuild}
