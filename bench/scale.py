"""Compare the agent with the floor and with the vendors' libraries, and write `docs/benchmarks.md`: `scripts/bench`.

Everyone talks to `bench.memory_server`, a process of its own. The two sides of a ratio run in turns, each in a new
process, and the least of their runs counts: whatever else the machine does can only add to it. Times are CPU seconds,
user and system.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from urllib.request import urlopen

from bench.memory_server import APP_ID, COUNT_PATH, SCIM_PATH

SIZES = (1_000, 10_000, 100_000)
READER_SIZE = 10_000
IN_FLIGHT = (1, 8)
"""How many writes are sent at once."""
START_RUNS = 5
LIBRARIES = ("httpx", "aiohttp", "orjson", "okta", "scim2-client", "scim2-models")
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MARK = "<!-- The rest of this page is written by scripts/bench. -->\n"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: CPU and wall seconds, MiB at most, and requests."""

    cpu: float
    wall: float
    memory: float
    requests: int


@dataclass(frozen=True, slots=True)
class Server:
    """A running `bench.memory_server`, and a folder for the agent's state."""

    port: int
    folder: Path

    def measure(self, *arguments: str) -> Cost:
        """Run `python -m` with *arguments* to its end. Raises `SystemExit` when it fails."""
        self.count_requests()
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"NO_PROXY": "127.0.0.1"},
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
        return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024, self.count_requests())

    def count_requests(self) -> int:
        """Return the requests since the last call."""
        with urlopen(f"http://127.0.0.1:{self.port}{COUNT_PATH}") as answer:
            return int(answer.read())

    def agent(self, command: str) -> Cost:
        return self.measure("agent", "--config", str(self.folder / "config.yaml"), command)

    def bare(self, what: str, *options: str) -> Cost:
        return self.measure("bench.bare_client", what, str(self.port), *options)

    def reader(self, name: str) -> Cost:
        return self.measure("bench.readers", name, str(self.port))


@contextmanager
def run_server(size: int, *options: str) -> Iterator[Server]:
    """Serve *size* people until the end of the block."""
    command = [sys.executable, "-m", "bench.memory_server", str(size), *options]
    with (
        tempfile.TemporaryDirectory() as name,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
    ):
        if process.stdout is None:
            raise AssertionError("it was started with a pipe")
        try:
            server = Server(int(process.stdout.readline()), Path(name))
            write_config(server, "config.yaml", f"sqlite:///{server.folder}/state.db")
            yield server
        finally:
            process.terminate()


def write_config(server: Server, name: str, state: str, every: int = 86_400) -> Path:
    """Write the configuration of one workspace, which `serve` runs *every* so many seconds; return its path."""
    config = server.folder / name
    config.touch(0o600)
    config.write_text(f"""\
log: {{level: warning}}
state: {{url: "{state}"}}
server: {{port: 0}}
connectors:
  okta-main: {{type: okta, org_url: "http://127.0.0.1:{server.port}", api_token: bench-token-of-okta}}
workspaces:
  pigment-bench:
    scim_url: http://127.0.0.1:{server.port}{SCIM_PATH}
    tokens: [bench-token-of-pigment]
    sources: [{{connector: okta-main, app: {APP_ID}}}]
    mode: enforce
    schedule: {{every: {every}s}}
pigment: {{requests_per_window: 10000000, window_seconds: 300}}
""")
    return config


def measure_start(repeat: int) -> str:
    """Measure what a command takes before its first request."""
    with tempfile.TemporaryDirectory() as name:
        seconds = {
            "`plan --help`": min(_start_seconds(Path(name), "plan", "--help") for _ in range(START_RUNS * repeat)),
            "`plan`, until it connects": min(_start_seconds(Path(name), "plan") for _ in range(START_RUNS * repeat)),
        }
    print(seconds)
    return table(["command", "CPU, s"], [[what, f"{each:.2f}"] for what, each in seconds.items()])


def _start_seconds(folder: Path, *arguments: str) -> float:
    """Return the CPU seconds of a command up to its first connection, when it is killed, or to its end."""
    # A socket of its own: what the command before had begun to connect waits at the old one.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = write_config(Server(listener.getsockname()[1], folder), "config.yaml", f"sqlite:///{folder}/state.db")
        process = subprocess.Popen(
            [sys.executable, "-m", "agent", "--config", str(config), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"NO_PROXY": "127.0.0.1"},
        )
        if "--help" not in arguments:
            listener.settimeout(60)
            listener.accept()[0].close()
            process.kill()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return used.ru_utime + used.ru_stime


def least(costs: Sequence[Cost]) -> Cost:
    return min(costs, key=lambda cost: cost.cpu)


def in_turns(repeat: int, *sides: Callable[[], Cost]) -> list[Cost]:
    """Return the least cost of each of *sides*, which run one after another, *repeat* times."""
    rounds = [[side() for side in sides] for _ in range(repeat)]
    return [least(costs) for costs in zip(*rounds, strict=True)]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] + ["--:"] * (len(headings) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def measure_runs(sizes: Sequence[int], repeat: int) -> str:
    rows = []
    for size in sizes:
        with run_server(size) as server:
            first = server.agent("sync")
            plan, floor, aiohttp = in_turns(
                repeat,
                lambda: server.agent("plan"),
                lambda: server.bare("read"),
                lambda: server.bare("read", "--client", "aiohttp"),
            )
        rows.append(
            [
                f"{size:,}",
                f"{floor.cpu:.2f}",
                f"{plan.cpu:.2f}",
                f"{plan.cpu / floor.cpu:.2f}",
                f"{aiohttp.cpu:.2f}",
                f"{floor.requests:,}",
                f"{plan.requests:,}",
                f"{plan.memory:.0f}",
                f"{first.cpu:.2f}",
                f"{first.memory:.0f}",
            ]
        )
        print(f"runs with {size:,}: {rows[-1]}")
    headings = ["people", "floor, s", "plan, s", "ratio", "aiohttp, s", "requests of the floor", "of the plan"]
    return table([*headings, "plan, MiB", "first sync, s", "first sync, MiB"], rows)


def measure_readers(size: int, repeat: int) -> str:
    rows = []
    with run_server(size) as server:
        for what, floor_name, names in (
            ("Okta's people and groups", "read-okta", {"okta-by-agent": "agent", "okta-by-sdk": "okta SDK"}),
            (
                "members of the workspace",
                "read-workspace",
                {"members-by-agent": "agent", "members-by-scim2-client": "scim2-client"},
            ),
        ):
            sides = [
                lambda floor_name=floor_name: server.bare(floor_name),
                *(lambda name=name: server.reader(name) for name in names),
            ]
            floor, *costs = in_turns(repeat, *sides)
            for name, cost in zip(["floor", *names.values()], [floor, *costs], strict=True):
                rows.append(
                    [
                        what,
                        name,
                        f"{cost.cpu:.2f}",
                        f"{cost.cpu / floor.cpu:.2f}",
                        f"{cost.requests:,}",
                        f"{cost.memory:.0f}",
                    ]
                )
                print(rows[-1])
    return table(["list", "reader", "s", "ratio", "requests", "MiB"], rows)


def measure_listing(size: int, repeat: int) -> str:
    with run_server(size, "--members-only") as server:
        sides = in_turns(repeat, lambda: server.bare("read-workspace"), lambda: server.reader("members-by-agent"))
    costs = dict(zip(("floor", "agent"), sides, strict=True))
    rows = [
        [name, f"{cost.cpu:.2f}", f"{cost.cpu / costs['floor'].cpu:.2f}", f"{cost.requests:,}", f"{cost.memory:.0f}"]
        for name, cost in costs.items()
    ]
    return table(["reader", "s", "ratio", "requests", "MiB"], rows)


def measure_writes(count: int, delay: float) -> str:
    """Compare with a bare writer that has as many requests in flight.

    The whole sync also starts, reads, plans, and adopts every member.
    """
    options = ("--renamed", str(count), "--write-delay", str(delay))
    rows = []
    for in_flight in IN_FLIGHT:
        with run_server(count, *options) as server:
            bare = server.bare("write", "--writes", str(count), "--in-flight", str(in_flight))
        with run_server(count, *options) as server:
            _set_in_flight(server, in_flight)
            # Only the first command of all creates the state.
            server.agent("plan")
            agent = server.agent("sync")
            unchanged = server.agent("sync")
        writes = replace(agent, cpu=agent.cpu - unchanged.cpu, wall=agent.wall - unchanged.wall)
        rows += [
            [name, str(in_flight), f"{cost.wall:.1f}", f"{cost.wall / bare.wall:.2f}", f"{cost.cpu:.2f}"]
            for name, cost in (
                ("bare writer", bare),
                ("agent, the whole sync", agent),
                ("agent, less a sync without changes", writes),
            )
        ]
        print(rows[-3:])
    return table(["writer", "in flight", "wall, s", "ratio", "CPU, s"], rows)


def _set_in_flight(server: Server, in_flight: int) -> None:
    config = server.folder / "config.yaml"
    config.write_text(config.read_text("utf-8") + f"apply: {{in_flight: {in_flight}}}\n", "utf-8")


def measure_planning(sizes: Sequence[int]) -> str:
    command = [sys.executable, "-m", "bench.planner", "--sizes", *map(str, sizes)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return f"```text\n{output}```\n"


def machine() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {model}, {os.cpu_count()} processors, load {load} at the end, "
        f"{platform.system()}, Python {platform.python_version()}, {libraries}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="people of the whole runs")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side of a ratio")
    parser.add_argument("--readers", type=int, default=READER_SIZE, help="people of the readers alone")
    parser.add_argument("--listing", type=int, default=1_000_000, help="members of the longest listing")
    parser.add_argument("--planning", type=int, nargs="+", default=(*SIZES, 1_000_000), help="people of the plans")
    parser.add_argument("--writes", type=int, default=2_000)
    parser.add_argument("--write-delay", type=float, default=0.02, metavar="SECONDS")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write; its text above the mark stays")
    options = parser.parse_args()
    command = " ".join(["scripts/bench", *sys.argv[1:]])
    parts = {
        "Start of a command": measure_start(options.repeat),
        "A plan without changes": measure_runs(options.sizes, options.repeat),
        f"Readers alone, {options.readers:,} people": measure_readers(options.readers, options.repeat),
        f"Listing {options.listing:,} members": measure_listing(options.listing, options.repeat),
        "Planning": measure_planning(options.planning),
        f"{options.writes:,} renames that take {options.write_delay * 1000:.0f} ms each": measure_writes(
            options.writes, options.write_delay
        ),
    }
    text = options.out.read_text("utf-8").partition(MARK)[0] if options.out.exists() else "# Benchmarks\n\n"
    text += MARK + "\n## Measured\n\n" + machine() + f"\n```text\n{command}\n```\n"
    text += "".join(f"\n### {title}\n\n{part}" for title, part in parts.items())
    options.out.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
