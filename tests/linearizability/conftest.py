from __future__ import annotations

import pytest

from tests.go_programs import GoMissing
from tests.linearizability.checker import PORCUPINE


@pytest.fixture(scope="session", autouse=True)
def porcupine() -> None:
    """Built once; without Go all of this is left out, and said to be."""
    try:
        PORCUPINE.build()
    except GoMissing as missing:
        pytest.skip(str(missing))
