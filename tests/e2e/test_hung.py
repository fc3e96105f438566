"""A daemon with an event loop that hangs forever exits, so that its supervisor starts it again."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

from agent.daemon.watchdog import HANG_LIMIT_SECONDS, HUNG_EXIT_CODE
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import run_sandbox
from tests.e2e.agent_process import REPOSITORY
from tests.e2e.daemon_process import configured

WITHIN_SECONDS = HANG_LIMIT_SECONDS + 120
SMALLEST_PIPE = 4096


def test_daemon_whose_log_is_not_read_ends_itself(tmp_path: Path) -> None:
    # A log collector that hangs: once the pipe is full, the loop waits forever to write its next line.
    with run_sandbox(seed=9, size=20, limit=RateLimit(None)) as sandbox:
        agent = configured(sandbox, tmp_path, {"every": "10s"})
        unread, log = os.pipe()
        fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
        process = subprocess.Popen(
            agent.command("serve"), stdout=subprocess.DEVNULL, stderr=log, cwd=REPOSITORY, env=agent.environment
        )
        os.close(log)
        try:
            assert process.wait(WITHIN_SECONDS) == HUNG_EXIT_CODE
        finally:
            process.kill()
            process.wait()
            os.close(unread)
