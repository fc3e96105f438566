"""A real Prometheus that scrapes one agent."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from tests.plain_http import get
from tests.programs import require
from tests.waiting import wait_until

__all__ = ["Prometheus", "scraping"]

LISTENING = re.compile(r'msg="Listening on" address=(?:\[::\]|127\.0\.0\.1):(\d+)')


@dataclass(frozen=True)
class Prometheus:
    port: int

    def is_ready(self) -> bool:
        """Return whether it answers queries: for a moment after it listens, it refuses them."""
        return get(f"http://127.0.0.1:{self.port}/-/ready").status_code == 200

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of *expression* now. Raises `AssertionError` if Prometheus refuses it."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query"
        answer = get(url, params={"query": expression})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found


@contextmanager
def scraping(port: int, folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus until the end of the block. It scrapes the agent at *port* each second."""
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "pigment-sync", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    command = [
        require("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            found = next((found for line in process.stderr if (found := LISTENING.search(line))), None)
            assert found, "Prometheus ended before it listened"
            # A full pipe would stop it.
            Thread(target=process.stderr.read, daemon=True).start()
            prometheus = Prometheus(int(found[1]))
            wait_until(prometheus.is_ready, "a Prometheus that is ready")
            yield prometheus
        finally:
            process.kill()
