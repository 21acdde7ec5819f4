from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disk.layer import CompilerMissing, Layer, build


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build(tmp_path_factory.mktemp("layer"))
    except CompilerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def layer(library: Path, tmp_path: Path) -> Iterator[Layer]:
    layer = Layer(library, tmp_path / "layer")
    yield layer
    layer.close()
