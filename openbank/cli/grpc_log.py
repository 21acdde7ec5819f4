"""gRPC's own log."""

from __future__ import annotations

import os


def silence() -> None:
    """Silences it: a command reports an error in one line, and gRPC's log would repeat it in many. Call before gRPC is
    imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
