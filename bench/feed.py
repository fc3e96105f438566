"""Measure how long a leaver keeps access with a change feed: `.venv/bin/python -m bench.feed --provider okta`.

A sandbox and `serve` run as two processes, with several workspaces, each at a host of its own. People leave one by one,
all kinds mixed, at a rate that a poll of the feed and the request budgets can take. Each figure is the time from the
change in the sandbox to the moment at which the member is inactive there.

`group-off` comes first: each workspace loses a group at once. A group of 10 or more that is not assigned any more is
for the guard `group-shrink`, which holds its leavers until someone approves; `group-emptied` holds them for 5 minutes
as well. So two times are measured: from the change until a run over everyone holds them, by the journal, and from the
approval of that plan by its digest until the member is inactive. Other limits of deactivations are set wide, because a
bench is a day with many leavers.

SIGINT and `--time-limit` end the leaving; a second SIGINT ends the waiting. Either way the report is of what was done.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import cast

import httpx
import yaml

from agent.settings.token import Role, hashed_token, new_token
from bench.feed_approvals import HeldLeavers
from bench.feed_sandbox import GROUP_OFF, KINDS, Lags, RemoteSandbox, WorkspaceAccess, open_sandbox

CONNECTORS = {"okta": "okta-main", "entra": "entra-eu", "onelogin": "onelogin-apac"}
MOST_LEAVERS = 0.4
"""The share of people who may leave: `group-shrink` holds those of a group that loses more than half within a day."""
Wait = tuple[str, float, float | None]
"""The workspace, the time of the change, and the seconds until the member was inactive."""


@dataclass(slots=True)
class Stop:
    """When to end: *leaving* ends the leaving, *waiting* the waiting for those who have left."""

    leaving: Event = field(default_factory=Event)
    waiting: Event = field(default_factory=Event)
    leaving_until: float = float("inf")

    def on_signal(self, *_: object) -> None:
        (self.waiting if self.leaving.is_set() else self.leaving).set()

    def may_leave(self) -> bool:
        return not self.leaving.is_set() and time.monotonic() < self.leaving_until

    def sleep(self, seconds: float) -> None:
        """Sleep, no longer than people may leave."""
        self.leaving.wait(min(seconds, max(0.0, self.leaving_until - time.monotonic())))


@dataclass(frozen=True, slots=True)
class Run:
    """A run over everyone in *workspace*; *ended* None: it goes on."""

    workspace: str
    began: float
    ended: float | None = None


def was_running(runs: Sequence[Run], since: float, until: float, workspace: str = "") -> bool:
    """Return whether one of *runs* over *workspace* (empty: any) was going on at any time between the two."""
    return any(
        run.began <= until and (run.ended is None or since <= run.ended)
        for run in runs
        if workspace in ("", run.workspace)
    )


@dataclass(slots=True)
class Daemon:
    """A `serve` process. *runs* has the runs over everyone by id. *by_feed* counts the deactivations of feed runs."""

    process: subprocess.Popen[str]
    token: str
    runs: dict[str, Run] = field(default_factory=dict)
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
                self.runs[run] = Run(str(line["workspace"]), time.time())
            case "change.applied" if line.get("kind") == "deactivate" and run not in self.runs:
                self.by_feed += line.get("outcome") == "done"
            case "run.finished" if run in self.runs:
                self.runs[run] = Run(self.runs[run].workspace, self.runs[run].began, time.time())

    def wait_until_ready(self, connector: str, workspaces: Mapping[str, object], stop: Stop) -> None:
        """Wait until the feed was polled, and the first run over everyone of each workspace has ended."""
        self.port = self._ports.get(timeout=60)
        metric = f'pigment_sync_feed_last_poll_timestamp_seconds{{connector="{connector}"}}'
        until = time.monotonic() + 900
        while (
            metric not in self.metrics()
            or {each.workspace for each in self.runs.values() if each.ended is not None} < workspaces.keys()
            or self.was_running(time.time(), time.time())
        ):
            if time.monotonic() > until or self.process.poll() is not None or not stop.may_leave():
                raise SystemExit("serve has not polled the feed, or its first run has not ended: see serve.log")
            time.sleep(0.5)

    def client(self) -> httpx.Client:
        """Return a client of the API that may approve."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=60, trust_env=False)

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=60, trust_env=False).text

    def was_running(self, since: float, until: float) -> bool:
        return was_running(list(self.runs.values()), since, until)


@dataclass(frozen=True, slots=True)
class Rows:
    """The times of one kind: *in_run* of those who waited while a run over everyone of their workspace went on."""

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


def make_rows(waits: Mapping[str, Sequence[Wait]], runs: Sequence[Run]) -> list[Rows]:
    rows = []
    for kind, found in sorted(waits.items()):
        if kind == GROUP_OFF:
            continue
        alone: list[float] = []
        in_run: list[float] = []
        for workspace, left_at, seconds in found:
            if seconds is not None:
                is_in_run = was_running(runs, left_at, left_at + seconds, workspace)
                (in_run if is_in_run else alone).append(seconds)
        missing = sum(seconds is None for _, _, seconds in found)
        rows.append(Rows(kind, tuple(alone), tuple(in_run), missing))
    return rows


def write_config(config: Path, workspaces: Mapping[str, WorkspaceAccess], options: argparse.Namespace) -> str:
    """Configure *workspaces*, give their connector a feed, and set the limits wide. Return a token that may approve."""
    document, token = yaml.safe_load(config.read_text("utf-8")), new_token()
    connector = CONNECTORS[options.provider]
    document["connectors"] = {connector: document["connectors"][connector] | {"feed": {"every": options.every}}}
    document["workspaces"] = {
        name: {
            "scim_url": access["scim_url"],
            "tokens": [access["token"]],
            "sources": [{"connector": connector, "app": access["app"]}],
            "mode": "enforce",
            "schedule": {"every": options.schedule},
        }
        for name, access in workspaces.items()
    }
    document["defaults"] = {
        "limits": {"max_deactivations": 100_000, "max_deactivations_percent": 100, "max_email_changes": 100_000}
    }
    document["limits"] = {"fleet_deactivations_percent": 100}
    document["server"] = {"port": 0, "tokens": [str(hashed_token(token, Role.OPERATE, "bench"))]}
    document["log"] = {"level": "info", "format": "json"}
    config.write_text(yaml.safe_dump(document), "utf-8")
    return token


def _command(config: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "agent", "--config", str(config), *words]


def _environment() -> dict[str, str]:
    return os.environ | {"NO_PROXY": "127.0.0.1"}


def run_first_sync(config: Path) -> float:
    began = time.monotonic()
    done = subprocess.run(
        _command(config, "sync"),
        capture_output=True,
        check=False,
        env=_environment(),
        process_group=0,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"the first sync ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.monotonic() - began


@contextmanager
def serving(config: Path, token: str) -> Iterator[Daemon]:
    # A group of its own: SIGINT in a terminal is for the bench alone.
    process = subprocess.Popen(
        _command(config, "serve"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(),
        process_group=0,
        text=True,
    )
    daemon = Daemon(process, token)
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


@dataclass(slots=True)
class Bench:
    """One provider's measurement while it goes on."""

    options: argparse.Namespace
    sandbox: RemoteSandbox
    daemon: Daemon
    stop: Stop
    held: HeldLeavers | None = None
    _reported: float = field(default_factory=time.monotonic)

    def take_groups_off(self) -> None:
        """Take the groups off, and approve what holds their leavers, until all are inactive."""
        since = time.time()
        groups = cast("dict[str, list[str]]", self.sandbox.call("take_groups_off"))
        with self.daemon.client() as client:
            self.held = HeldLeavers(client, groups, since)
            until = time.monotonic() + self.options.patience
            while self._is_waiting(until) and self.stop.may_leave():
                self.held.approve_new()
                self._report_sometimes()
                self.stop.sleep(1)

    def let_people_leave(self, kinds: Sequence[str]) -> None:
        """Let people leave one by one, in a random order of kinds, at a steady rate with some jitter."""
        rng = random.Random(self.options.seed)
        # Each round has one of each kind, so that a cut leaves as many of each.
        order = [kind for _ in range(self.options.leavers) for kind in rng.sample(kinds, len(kinds))]
        people = cast("list[str]", self.sandbox.call("choose", len(order)))
        due = time.monotonic()
        for kind, person in zip(order, people, strict=True):
            if not self.stop.may_leave():
                return
            self.sandbox.call("let_leave", kind, person)
            self._report_sometimes()
            due += 60 / self.options.per_minute * rng.uniform(0.5, 1.5)
            self.stop.sleep(max(0.0, due - time.monotonic()))

    def wait_for_all(self) -> None:
        """Wait until no leaver is active, for `--patience` seconds at most."""
        until = time.monotonic() + self.options.patience
        while self._is_waiting(until):
            self.stop.waiting.wait(1)

    def report(self) -> list[Rows]:
        """Print the times so far, and return them."""
        waits = cast("dict[str, list[Wait]]", self.sandbox.call("waits"))
        rows = make_rows(waits, list(self.daemon.runs.values()))
        wrongful = cast("list[str]", self.sandbox.call("wrongful"))
        rows += self._report_groups_off()
        _print_rows(rows, wrongful, self.daemon)
        return rows

    def _report_groups_off(self) -> list[Rows]:
        """Return the times until the leavers of groups were held, and from the approval until they were inactive."""
        if self.held is None:
            return []
        members = [member for found in self.held.leavers.values() for member in found]
        times = cast("dict[str, tuple[float, float | None]]", self.sandbox.call("times", members))
        held = {key: at - times[key][0] for key, at in self.held.held_at.items()}
        applied: dict[str, float] = {}
        unapproved = 0
        for key, (_, done) in times.items():
            if done is not None and done >= self.held.approved_at.get(key, float("inf")):
                applied[key] = done - self.held.approved_at[key]
            elif done is not None:
                unapproved += 1
        guards = ", ".join(f"{code} {count}" for code, count in sorted(self.held.guards.items()))
        print(f"{GROUP_OFF}: {len(members)} leavers; held by {guards or 'no guard'}; without an approval: {unapproved}")
        return [
            Rows(f"{GROUP_OFF}: until held", (), tuple(held.values()), len(members) - len(held) - unapproved),
            Rows(f"{GROUP_OFF}: approved", (), tuple(applied.values()), len(members) - len(applied) - unapproved),
        ]

    def _is_waiting(self, until: float) -> bool:
        waits = cast("dict[str, list[Wait]]", self.sandbox.call("waits"))
        is_done = all(wait[2] is not None for found in waits.values() for wait in found)
        has_ended = self.stop.waiting.is_set() or self.daemon.process.poll() is not None
        return not (is_done or has_ended or time.monotonic() > until)

    def _report_sometimes(self) -> None:
        if time.monotonic() - self._reported > self.options.report_every:
            self._reported = time.monotonic()
            print(f"so far, {time.strftime('%H:%M:%S')}:")
            self.report()


def measure_idle(sandbox: RemoteSandbox, daemon: Daemon, seconds: float, stop: Stop) -> str:
    """Return the requests a minute while nothing happens, to each system that got any."""
    began = time.time()
    stop.sleep(seconds)
    ended = time.time()
    counts = cast("dict[str, int]", sandbox.call("requests", began, ended))
    rates = ", ".join(f"{system} {count / (ended - began) * 60:.1f}" for system, count in sorted(counts.items()))
    overlap = " (a run over everyone among them)" if daemon.was_running(began, ended) else ""
    return f"idle requests a minute, over {ended - began:.0f} s: {rates or 'no requests'}{overlap}"


def measure(options: argparse.Namespace, folder: Path, stop: Stop) -> int:
    provider, lags = options.provider, options.lags
    kinds = [each for each in options.kind if each != GROUP_OFF]
    burst = options.leavers if GROUP_OFF in options.kind else 0
    with open_sandbox(provider, options.people, options.seed, options.workspaces, burst) as sandbox:
        config = Path(cast("str", sandbox.call("write_config", str(folder))))
        workspaces = cast("dict[str, WorkspaceAccess]", sandbox.call("workspaces"))
        token = write_config(config, workspaces, options)
        seconds = run_first_sync(config)
        sandbox.call("set_lags", lags)
        print(
            f"{provider}: {options.people:,} people, {len(workspaces)} workspaces, first run {seconds:.0f} s, "
            f"load {os.getloadavg()[0]:.1f}; {lags}"
        )
        with serving(config, token) as daemon:
            daemon.wait_until_ready(CONNECTORS[provider], workspaces, stop)
            bench = Bench(options, sandbox, daemon, stop)
            if options.idle:
                print(measure_idle(sandbox, daemon, options.idle, stop))
            if burst:
                bench.take_groups_off()
            bench.let_people_leave(kinds)
            bench.wait_for_all()
            print(f"at the end, load {os.getloadavg()[0]:.1f}:")
            rows = bench.report()
        wrongful = cast("list[str]", sandbox.call("wrongful"))
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
    lengths = [run.ended - run.began for run in list(daemon.runs.values()) if run.ended is not None]
    print(
        f"deactivated by feed runs: {daemon.by_feed}; runs over everyone: {len(daemon.runs)}, "
        f"{min(lengths, default=0):.0f} to {max(lengths, default=0):.0f} s; wrongful deactivations: {len(wrongful)}",
        flush=True,
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=list(KINDS), required=True)
    parser.add_argument("--kind", action="append", choices=[*KINDS["okta"], GROUP_OFF], help="repeat; default: all")
    parser.add_argument("--leavers", type=int, default=500, help="of each kind")
    parser.add_argument("--people", type=int, default=10_000, help="in the directory")
    parser.add_argument("--workspaces", type=int, default=5, help="between which the people are divided")
    parser.add_argument("--per-minute", type=float, default=40, help="leavers a minute")
    parser.add_argument("--every", default="15s", help="the feed's interval")
    parser.add_argument("--schedule", default="5m", help="the interval of runs over everyone")
    parser.add_argument("--idle", type=float, default=120, help="seconds of rest before anyone leaves")
    parser.add_argument("--patience", type=float, default=900, help="seconds to wait for the last leaver")
    parser.add_argument("--time-limit", type=float, default=float("inf"), help="seconds until no one leaves any more")
    parser.add_argument("--report-every", type=float, default=120, help="seconds between reports of what was done")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, help="append each kind's times as a line of JSON")
    for name, value in asdict(Lags()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value, help="of the provider's events")
    options = parser.parse_args(arguments)
    options.lags = Lags(**{name: getattr(options, name) for name in asdict(Lags())})
    options.kind = options.kind or [*KINDS[options.provider], GROUP_OFF]
    unknown = set(options.kind) - {*KINDS[options.provider], GROUP_OFF}
    if unknown:
        parser.error(f"{options.provider} has no {', '.join(sorted(unknown))}")
    if options.leavers * len(options.kind) > options.people * MOST_LEAVERS:
        parser.error(f"more than {MOST_LEAVERS:.0%} of the people would leave: the guards of groups would hold them")
    stop = Stop(leaving_until=time.monotonic() + options.time_limit)
    before = signal.signal(signal.SIGINT, stop.on_signal)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return measure(options, Path(folder), stop)
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
