"""gRPC's own log."""

from __future__ import annotations

import os


def silence() -> None:
    """What is wrong, a command says in one line; gRPC's log would say it again, in many. Before gRPC is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
