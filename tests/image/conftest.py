"""What the checks of the image share. `scripts/image-test` has the engine that they need."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.image.setting import Setting, prepared
from tests.image.size import megabytes


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=5, size=30, limit=RateLimit(None)) as served:
        yield served


@pytest.fixture
def setting(sandbox: Sandbox) -> Iterator[Setting]:
    """Yield a configuration to mount. Not below pytest's own folder, which only its owner may enter."""
    folder = Path(tempfile.mkdtemp(prefix="image-check-"))
    yield prepared(sandbox, folder)
    shutil.rmtree(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if seconds := os.environ.get("IMAGE_BUILD_SECONDS"):
        image, base = megabytes()
        terminalreporter.write_line(
            f"image: built in {seconds} s; {image:.0f} MB, of which {image - base:.0f} MB are over its base"
        )
