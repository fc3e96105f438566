"""Measure how long a leaver keeps access with a change feed: `.venv/bin/python -m bench.feed --provider okta`.

A sandbox and `serve` run as two processes. People leave one by one, at a rate that a poll of the feed and the request
budget of Pigment can take; `--kind group-off` takes a whole group off the application instead, which is a burst. Each
figure is the time from the change in the sandbox to the moment at which the member is inactive there.

Limits of deactivations are set wide, because a bench is a day with many leavers. The guard against an emptied group
stays on, since it can't be set: it holds the leavers of a group until a second run, at least five minutes later.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import cast

import httpx
import yaml

from bench.feed_sandbox import GROUP_OFF, KINDS, Lags, RemoteSandbox, open_sandbox
from sandbox.initial_members import WORKSPACES

CONNECTORS = {"okta": "okta-main", "entra": "entra-eu", "onelogin": "onelogin-apac"}
SYNC_CODES = frozenset({0, 4})
"""The first run holds some of the sandbox's odd members, which is not what is measured."""
Wait = tuple[float, float | None]


@dataclass(slots=True)
class Daemon:
    """A `serve` process. *runs* has the runs over everyone: when each began and ended, None: it goes on.

    *by_feed* counts the deactivations of feed runs.
    """

    process: subprocess.Popen[str]
    runs: dict[str, tuple[float, float | None]] = field(default_factory=dict)
    port: int = 0
    by_feed: int = 0
    _ports: SimpleQueue[int] = field(default_factory=SimpleQueue)

    def read_log(self, copy: Path) -> None:
        with copy.open("w", buffering=1, encoding="utf-8") as out:
            for line in self.process.stderr or ():
                out.write(line)
                if line.startswith("{"):
                    self._take(json.loads(line))

    def _take(self, line: dict[str, object]) -> None:
        run = str(line.get("run_id"))
        match line.get("event"):
            case "server.listening":
                self._ports.put(int(str(line["port"])))
            case "run.started" if line.get("trigger") != "feed":
                self.runs[run] = (time.time(), None)
            case "change.applied" if line.get("kind") == "deactivate" and run not in self.runs:
                self.by_feed += line.get("outcome") == "done"
            case "run.finished" if run in self.runs:
                self.runs[run] = (self.runs[run][0], time.time())

    def wait_until_ready(self, connector: str) -> None:
        """Wait until the feed was polled, and the first run over everyone has ended."""
        self.port = self._ports.get(timeout=60)
        metric = f'pigment_sync_feed_last_poll_timestamp_seconds{{connector="{connector}"}}'
        until = time.monotonic() + 900
        while metric not in self.metrics() or not self.runs or self.was_running(time.time(), time.time()):
            if time.monotonic() > until or self.process.poll() is not None:
                raise SystemExit("serve has not polled the feed, or its first run has not ended: see serve.log")
            time.sleep(0.5)

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=60, trust_env=False).text

    def was_running(self, since: float, until: float) -> bool:
        """Return whether a run over everyone was going on at any time between the two."""
        return any(began <= until and (ended is None or since <= ended) for began, ended in self.runs.values())


@dataclass(frozen=True, slots=True)
class Rows:
    """The times of one kind, and of those who waited while a run over everyone went on."""

    kind: str
    seconds: tuple[float, ...]
    in_run: tuple[float, ...]
    missing: int


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(values: Sequence[float]) -> str:
    if not values:
        return f"{'-':>5} {'-':>7} {'-':>7} {'-':>7}"
    return f"{len(values):>5} {_percentile(values, 0.5):>7.1f} {_percentile(values, 0.95):>7.1f} {max(values):>7.1f}"


def make_rows(waits: dict[str, list[Wait]], daemon: Daemon) -> list[Rows]:
    rows = []
    for kind, found in sorted(waits.items()):
        alone: list[float] = []
        in_run: list[float] = []
        for left_at, seconds in found:
            if seconds is not None:
                (in_run if daemon.was_running(left_at, left_at + seconds) else alone).append(seconds)
        missing = sum(seconds is None for _, seconds in found)
        rows.append(Rows(kind, tuple(alone), tuple(in_run), missing))
    return rows


def write_config(config: Path, provider: str, every: str, schedule: str) -> None:
    """Keep one workspace, give its connector a feed, and set the guards wide."""
    document = yaml.safe_load(config.read_text("utf-8"))
    name, connector = WORKSPACES[provider], CONNECTORS[provider]
    document["workspaces"] = {name: document["workspaces"][name]}
    document["connectors"] = {connector: document["connectors"][connector] | {"feed": {"every": every}}}
    document["workspaces"][name]["schedule"] = {"every": schedule}
    document["defaults"] = {
        "limits": {"max_deactivations": 100_000, "max_deactivations_percent": 100, "max_email_changes": 100_000}
    }
    document["limits"] = {"fleet_deactivations_percent": 100}
    document["server"] = {"port": 0}
    document["log"] = {"level": "info", "format": "json"}
    config.write_text(yaml.safe_dump(document), "utf-8")


def _command(config: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "agent", "--config", str(config), *words]


def _environment() -> dict[str, str]:
    return os.environ | {"NO_PROXY": "127.0.0.1"}


def run_first_sync(config: Path, workspace: str) -> float:
    began = time.monotonic()
    command = _command(config, "sync", "-w", workspace)
    done = subprocess.run(command, capture_output=True, check=False, env=_environment(), text=True)
    if done.returncode not in SYNC_CODES:
        raise SystemExit(f"the first sync ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.monotonic() - began


@contextmanager
def serving(config: Path) -> Iterator[Daemon]:
    process = subprocess.Popen(
        _command(config, "serve"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment(), text=True
    )
    daemon = Daemon(process)
    reader = Thread(target=daemon.read_log, args=(config.parent / "serve.log",), daemon=True)
    reader.start()
    try:
        yield daemon
        process.send_signal(signal.SIGTERM)
        process.wait(40)
    finally:
        process.kill()
        process.wait()
        reader.join(10)
        if process.stderr is not None:
            process.stderr.close()


def let_people_leave(sandbox: RemoteSandbox, kinds: Sequence[str], options: argparse.Namespace) -> None:
    """Let people leave one by one, in a random order of kinds, at a steady rate with some jitter."""
    rng = random.Random(options.seed)
    order = [kind for kind in kinds for _ in range(options.leavers)]
    rng.shuffle(order)
    people = cast("list[str]", sandbox.call("choose", len(order)))
    for kind, person in zip(order, people, strict=True):
        sandbox.call("let_leave", kind, person)
        time.sleep(60 / options.per_minute * rng.uniform(0.5, 1.5))


def wait_for_all(sandbox: RemoteSandbox, daemon: Daemon, seconds: float) -> dict[str, list[Wait]]:
    """Return the waits once no one is left, or after *seconds*."""
    until = time.monotonic() + seconds
    while True:
        waits = cast("dict[str, list[Wait]]", sandbox.call("waits"))
        is_done = all(wait[1] is not None for found in waits.values() for wait in found)
        if is_done or time.monotonic() > until or daemon.process.poll() is not None:
            return waits
        time.sleep(0.5)


def measure_idle(sandbox: RemoteSandbox, daemon: Daemon, seconds: float) -> str:
    """Return the requests a minute while nothing happens, to each system that got any."""
    began = time.time()
    time.sleep(seconds)
    ended = time.time()
    counts = cast("dict[str, int]", sandbox.call("requests", began, ended))
    rates = ", ".join(f"{system} {count / (ended - began) * 60:.1f}" for system, count in sorted(counts.items()))
    overlap = " (a run over everyone among them)" if daemon.was_running(began, ended) else ""
    return f"idle requests a minute: {rates or 'no requests'}{overlap}"


def measure(options: argparse.Namespace, folder: Path) -> int:
    provider, lags = options.provider, options.lags
    kinds = [each for each in options.kind or KINDS[provider] if each != GROUP_OFF]
    is_burst = GROUP_OFF in (options.kind or ())
    with open_sandbox(provider, options.people, options.seed) as sandbox:
        if is_burst:
            sandbox.call("fill_burst_group", options.leavers)
        config = Path(cast("str", sandbox.call("write_config", str(folder))))
        write_config(config, provider, options.every, options.schedule)
        seconds = run_first_sync(config, WORKSPACES[provider])
        sandbox.call("forget_writes")
        sandbox.call("set_lags", lags)
        print(
            f"{provider}: {options.people:,} people, first run {seconds:.0f} s, load {os.getloadavg()[0]:.1f}; {lags}"
        )
        with serving(config) as daemon:
            daemon.wait_until_ready(CONNECTORS[provider])
            if options.idle:
                print(measure_idle(sandbox, daemon, options.idle))
            if is_burst:
                sandbox.call("take_group_off")
            let_people_leave(sandbox, kinds, options)
            waits = wait_for_all(sandbox, daemon, options.patience)
        rows = make_rows(waits, daemon)
        wrongful = cast("list[str]", sandbox.call("wrongful"))
    _print_rows(rows, wrongful, daemon)
    if options.save:
        with options.save.open("a", encoding="utf-8") as out:
            for row in rows:
                result = {"provider": provider, "people": options.people, **asdict(lags), **asdict(row)}
                out.write(f"{json.dumps(result | {'wrongful': len(wrongful)})}\n")
    return 1 if wrongful else 0


def _print_rows(rows: Sequence[Rows], wrongful: Sequence[str], daemon: Daemon) -> None:
    print(f"{'seconds to inactive':<22}{'no run over everyone':>30}{'one in progress':>30}")
    head = f"{'n':>5} {'median':>7} {'p95':>7} {'worst':>7}"
    print(f"{'':<22}{head:>30}{head:>30}  not yet")
    for row in rows:
        print(f"{row.kind:<22}{summary(row.seconds):>30}{summary(row.in_run):>30}{row.missing:>9}")
    lengths = [ended - began for began, ended in daemon.runs.values() if ended is not None]
    print(
        f"deactivated by feed runs: {daemon.by_feed}; runs over everyone: {len(daemon.runs)}, "
        f"{min(lengths, default=0):.0f} to {max(lengths, default=0):.0f} s; wrongful deactivations: {len(wrongful)}"
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=list(KINDS), required=True)
    parser.add_argument(
        "--kind", action="append", choices=[*KINDS["okta"], GROUP_OFF], help="repeat; default: all single"
    )
    parser.add_argument("--leavers", type=int, default=500, help="of each kind")
    parser.add_argument("--people", type=int, default=10_000, help="in the directory")
    parser.add_argument("--per-minute", type=float, default=20, help="leavers a minute")
    parser.add_argument("--every", default="15s", help="the feed's interval")
    parser.add_argument("--schedule", default="5m", help="the interval of runs over everyone")
    parser.add_argument("--idle", type=float, default=60, help="seconds of rest before anyone leaves")
    parser.add_argument("--patience", type=float, default=1800, help="seconds to wait for the last leaver")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, help="append each kind's times as a line of JSON")
    for name, value in asdict(Lags()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value, help="of the provider's events")
    options = parser.parse_args(arguments)
    options.lags = Lags(**{name: getattr(options, name) for name in asdict(Lags())})
    unknown = set(options.kind or ()) - {*KINDS[options.provider], GROUP_OFF}
    if unknown:
        parser.error(f"{options.provider} has no {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        return measure(options, Path(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
