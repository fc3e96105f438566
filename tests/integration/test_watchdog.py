"""A real process with a hung event loop ends with its own exit code, and logs where it hung."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.daemon.watchdog import HUNG_EXIT_CODE

REPOSITORY = Path(__file__).parents[2]
WITHIN_SECONDS = 60
PROGRAM = """
import asyncio, sys, threading
from agent.daemon.watchdog import Watchdog

def block_for_ever():
    threading.Event().wait()

def spin_for_ever():
    while True:
        pass

def write_for_ever():
    sys.stdout.write("x" * 10_000_000)
    sys.stdout.flush()

async def main():
    Watchdog(limit_seconds=1, check_interval_seconds=0.05).start()
    for place in range(1, 4):
        await asyncio.to_thread(sys.stdin.readline)
        print(place, flush=True)
    {hang}()

asyncio.run(main())
"""


def started(hang: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(hang=hang)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        cwd=REPOSITORY,
    )


@pytest.mark.parametrize("hang", ["block_for_ever", "spin_for_ever"])
def test_watchdog_ends_a_process_with_a_hanging_loop(hang: str) -> None:
    process = started(hang)
    out, err = process.communicate("go\n" * 3, timeout=WITHIN_SECONDS)

    assert process.returncode == HUNG_EXIT_CODE
    log = out + err
    assert "daemon.hung" in log
    assert hang in log


def test_watchdog_ends_a_process_that_hangs_in_its_log() -> None:
    # structlog writes to stdout unless it is configured: no one reads that pipe, so its own line can't be written.
    process = started("write_for_ever")
    assert process.stdin is not None
    process.stdin.write("go\n" * 3)
    process.stdin.flush()

    assert process.wait(WITHIN_SECONDS) == HUNG_EXIT_CODE
    process.communicate()


def test_watchdog_spares_a_process_that_was_stopped_for_longer_than_the_limit() -> None:
    process = started("block_for_ever")
    assert process.stdin is not None
    assert process.stdout is not None
    for place in ("1", "2"):
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        # Longer than the limit of 1 s.
        subprocess.run([sys.executable, "-c", "import threading; threading.Event().wait(2)"], check=True)
        process.send_signal(signal.SIGCONT)
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline().strip() == place
    process.kill()
    process.communicate()
