"""What a workspace costs a daemon and its database, run by run: `.venv/bin/python -m bench.capacity`.

`docs/scaling.md` computes from these figures how far one process and one database carry. A daemon without changes to
make runs every 10 s against `bench.memory_server`, on a real PostgreSQL. What it does between its runs is measured
first, in a daemon whose schedule is not due, and taken off.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from bench.scale import run_server, write_config
from tests import postgres

SIZES = (500, 5_000, 50_000)
EVERY_SECONDS = 10
"""The shortest schedule that the configuration allows."""
STATISTICS_SECONDS = 2.0
"""PostgreSQL counts what a session did once it has rested for a second."""
FINISHED = text("SELECT count(*) FROM runs WHERE finished_at IS NOT NULL AND started_at > :after")
COUNTED = text(
    "SELECT pg_stat_get_db_xact_commit(oid), pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
    " FROM pg_database WHERE datname = current_database()"
)
# The median: the row of the first sync holds everyone's adoption.
ROW_BYTES = text(
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY pg_column_size(runs.*)) FROM runs WHERE finished_at IS NOT NULL"
)
CONNECTIONS = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """Totals at one moment: when (seconds), CPU seconds of the daemon and the database, transactions, bytes of WAL."""

    at: float
    daemon: float
    database: float
    transactions: float
    wal: float

    def since(self, before: Reading) -> Reading:
        return Reading(
            self.at - before.at,
            self.daemon - before.daemon,
            self.database - before.database,
            self.transactions - before.transactions,
            self.wal - before.wal,
        )


@dataclass(frozen=True, slots=True)
class Daemon:
    """A `serve` that runs. *engine* is of this bench, with one connection."""

    process: subprocess.Popen[bytes]
    server: postgres.Server
    engine: Engine

    def read(self) -> Reading:
        with self.engine.connect() as connection:
            transactions, wal = connection.execute(COUNTED).one()
        database = self.server.process
        if database is None:
            raise AssertionError("it runs until the end")
        return Reading(
            time.monotonic(),
            _cpu_seconds(self.process.pid),
            _family_cpu_seconds(database.pid),
            float(transactions),
            float(wal),
        )

    def wait_for_runs(self, count: int, after: int) -> None:
        """Wait until *count* runs that began after the moment *after* (microseconds) have ended."""
        while self.process.poll() is None:
            with self.engine.connect() as connection:
                if connection.execute(FINISHED, {"after": after}).scalar_one() >= count:
                    return
            time.sleep(0.5)
        raise SystemExit(f"serve ended with {self.process.returncode}")

    def connections(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(CONNECTIONS).scalar_one()) - 1

    def row_bytes(self) -> float:
        with self.engine.connect() as connection:
            return float(connection.execute(ROW_BYTES).scalar_one())

    def peak_mib(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _cpu_seconds(pid: int, *, with_ended_children: bool = False) -> float:
    # Behind the name, which may hold spaces: utime, stime, cutime and cstime are fields 14 to 17.
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11 : 15 if with_ended_children else 13]) / TICKS_PER_SECOND


def _family_cpu_seconds(pid: int) -> float:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return _cpu_seconds(pid, with_ended_children=True) + sum(_cpu_seconds(int(child)) for child in children)


@contextmanager
def _serve(config: Path, database: postgres.Server, engine: Engine) -> Iterator[Daemon]:
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", "--config", str(config), "serve"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
    )
    try:
        yield Daemon(process, database, engine)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def measure(size: int, runs: int, rest: float) -> list[str]:
    """Return the row of *size* people: the mean of *runs* runs, less what *rest* seconds without a run cost."""
    with run_server(size) as server, postgres.serve() as database:
        state = postgres.new_database(database.url)
        engine = create_engine(state, isolation_level="AUTOCOMMIT")
        config = write_config(server, "rare.yaml", state)
        # It makes the tables, and adopts everyone.
        server.measure("agent", "--config", str(config), "sync")
        began = int(time.time() * 1e6)
        with _serve(config, database, engine) as daemon:
            daemon.wait_for_runs(1, began)
            time.sleep(STATISTICS_SECONDS)
            first = daemon.read()
            time.sleep(rest)
            idle = daemon.read().since(first)
        began = int(time.time() * 1e6)
        with _serve(write_config(server, "often.yaml", state, EVERY_SECONDS), database, engine) as daemon:
            # The first one also fills caches.
            daemon.wait_for_runs(1, began)
            time.sleep(STATISTICS_SECONDS)
            first = daemon.read()
            daemon.wait_for_runs(1 + runs, began)
            time.sleep(STATISTICS_SECONDS)
            busy = daemon.read().since(first)
            connections, peak, row_bytes = daemon.connections(), daemon.peak_mib(), daemon.row_bytes()
        engine.dispose()

    def of_a_run(of_runs: float, of_rest: float) -> float:
        return (of_runs - of_rest / idle.at * busy.at) / runs

    return [
        f"{size:,}",
        f"{of_a_run(busy.daemon, idle.daemon):.2f}",
        f"{of_a_run(busy.database, idle.database):.2f}",
        f"{of_a_run(busy.transactions, idle.transactions):.0f}",
        f"{of_a_run(busy.wal, idle.wal) / MIB:.2f}",
        f"{row_bytes:.0f}",
        f"{peak:.0f}",
        f"{connections}",
        f"{idle.daemon / idle.at * 100:.1f} %",
        f"{idle.database / idle.at * 100:.1f} %",
        f"{idle.transactions / idle.at:.1f}",
    ]


HEADINGS = (
    "people",
    "daemon, CPU s a run",
    "database, CPU s a run",
    "transactions a run",
    "WAL, MiB a run",
    "row of a run, bytes",
    "peak of the daemon, MiB",
    "connections",
    "daemon at rest",
    "database at rest",
    "transactions a second at rest",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--rest", type=float, default=30.0)
    options = parser.parse_args()
    print(" | ".join(HEADINGS))
    for size in options.sizes:
        print(" | ".join(measure(size, options.runs, options.rest)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
