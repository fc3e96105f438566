"""Let the daemon live on the sandbox while people come and go and faults come and go: `.venv/bin/python -m bench.soak`.

Prints a summary: whether every workspace is in sync, whether a run was lost or doubled, and how the memory went.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import yaml

from agent.model.run import Run, RunStatus, Trigger
from agent.store.state import SqlState
from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox

EVERY_SECONDS = 10
"""The shortest schedule that the configuration allows."""
FAULT_SCENARIOS: tuple[tuple[dict[str, object], ...], ...] = (
    (),
    ({"name": "workspace down", "do": "status", "system": "pigment", "status": 503},),
    ({"name": "lost answers", "do": "reset", "system": "pigment", "method": "POST", "every": 3},),
    ({"name": "okta breaks off", "do": "truncated", "system": "okta", "every": 2},),
    (),
    ({"name": "no answer", "do": "disconnect", "every": 4},),
    ({"name": "dropped", "do": "dropped", "system": "pigment", "method": "PUT"},),
    ({"name": "slow", "do": "slow", "seconds": 1.5},),
    ({"name": "too many", "do": "status", "system": "entra", "status": 429, "every": 3},),
)


@dataclass
class SoakRun:
    """One daemon process, the company it serves and what was seen of it. *memory* is in KiB, once a second."""

    sandbox: Sandbox
    config: Path
    rng: random.Random
    memory: list[int] = field(default_factory=list)
    hired: int = 0

    def start_daemon(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "agent", "--config", str(self.config), "serve"]
        log = (self.config.parent / "serve.log").open("wb")
        return subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"NO_PROXY": "127.0.0.1"})

    def change_person(self) -> None:
        """Let a person join, leave, marry or be suspended."""
        company = self.sandbox.company
        self.hired += 1
        new = company.hire("okta", f"Soak{self.hired}", "Tester", ["Pigment LatAm"])
        match self.rng.randrange(4):
            case 0:
                company.leave(new)
            case 1:
                company.marry(new, f"Wed{self.hired}")
            case 2:
                company.suspend(new)
            case _:
                return

    def watch_daemon(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        """Change something every few seconds, and the troubles every 20; in the last minute nothing goes wrong, and in
        its second half people stay as they are, so that two ticks can bring all workspaces in sync."""
        ends = time.monotonic() + seconds
        for step in _tick_seconds(process, ends):
            self.memory.append(_resident_kib(process.pid))
            if step % 5 == 0 and ends - time.monotonic() > 30:
                self.change_person()
            if step % 20 == 0:
                is_calm = ends - time.monotonic() < 60
                rules = FAULT_SCENARIOS[0 if is_calm else step // 20 % len(FAULT_SCENARIOS)]
                self.sandbox.faults.put(parse_rules({"faults": [dict(rule) for rule in rules]}))


def _tick_seconds(process: subprocess.Popen[bytes], ends: float) -> Iterator[int]:
    """Count the seconds until *ends*, for as long as *process* lives."""
    step = 0
    while time.monotonic() < ends:
        yield step
        step += 1
        try:
            raise SystemExit(f"the daemon ended by itself: {process.wait(1)}")
        except subprocess.TimeoutExpired:
            continue


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def _write_config(sandbox: Sandbox, folder: Path) -> Path:
    config = sandbox.write_config(folder)
    document = yaml.safe_load(config.read_text("utf-8"))
    limits = {"max_deactivations": 100_000, "max_deactivations_percent": 100, "max_email_changes": 100_000}
    document["defaults"] = {"limits": limits}
    for workspace in document["workspaces"].values():
        workspace["schedule"] = {"every": f"{EVERY_SECONDS}s"}
    document["limits"] = {"fleet_deactivations_percent": 100}
    document["http"] = {"timeout_seconds": 1, "retries": 1, "max_wait_seconds": 5}
    document["pigment"] = {"requests_per_window": 100_000, "window_seconds": 300}
    document["server"] = {"port": 0}
    document["log"] = {"level": "info"}
    config.write_text(yaml.safe_dump(document), "utf-8")
    return config


async def _read_runs(folder: Path) -> list[Run]:
    state = await SqlState.open(f"sqlite:///{folder}/state.db", lambda: datetime.now(UTC))
    try:
        return await state.load_runs(limit=1_000_000)
    finally:
        await state.close()


def _summary_lines(soak: SoakRun, runs: list[Run], seconds: float) -> Iterator[str]:
    ticks = [run for run in runs if run.trigger is Trigger.SCHEDULE]
    yield f"{len(ticks)} scheduled runs in {seconds:.0f} s: {dict(Counter(str(run.status) for run in ticks))}"
    for name, count in sorted(Counter(run.workspace for run in ticks).items()):
        times = sorted(run.started_at for run in ticks if run.workspace == name)
        gaps = [(b - a).total_seconds() for a, b in pairwise(times)]
        yield f"  {name}: {count} runs, {min(gaps):.1f} to {max(gaps):.1f} s apart"
    half = soak.memory[len(soak.memory) // 3 : 2 * len(soak.memory) // 3]
    last = soak.memory[-len(half) :]
    yield (
        f"memory: {max(soak.memory) / 1024:.0f} MiB at most; on average {sum(half) / len(half) / 1024:.1f} MiB in the "
        f"second third, {sum(last) / len(last) / 1024:.1f} MiB in the last"
    )
    yield f"{sum(run.status is RunStatus.RUNNING for run in runs)} runs left open"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, run_sandbox(seed=3, size=120, limit=RateLimit(None)) as sandbox:
        folder = Path(name)
        soak = SoakRun(sandbox, _write_config(sandbox, folder), random.Random(options.seed))
        process = soak.start_daemon()
        try:
            soak.watch_daemon(process, options.seconds)
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            code = process.wait(30)
        finally:
            process.kill()
        sys.stdout.write(f"SIGTERM: exit {code} after {time.monotonic() - began:.1f} s\n")
        for line in _summary_lines(soak, asyncio.run(_read_runs(folder)), options.seconds):
            sys.stdout.write(f"{line}\n")
        command = [sys.executable, "-m", "agent", "--config", str(soak.config), "plan", "--exit-code"]
        plan = subprocess.run(command, capture_output=True, check=False, env=os.environ | {"NO_PROXY": "127.0.0.1"})
        members = Counter(
            member.user_name.lower() for space in ["pigment-latam"] for member in sandbox.workspace(space).members
        )
        doubled = [email for email, count in members.items() if count > 1]
        sys.stdout.write(f"plan --exit-code afterwards: {plan.returncode} (0: in sync); doubled members: {doubled}\n")
        return plan.returncode or code or len(doubled)


if __name__ == "__main__":
    sys.exit(main())
