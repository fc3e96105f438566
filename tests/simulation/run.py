"""Run many histories (`scripts/simulate --runs 100000 --seed 1`). A failure names the seed that repeats it."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import structlog

from agent.errors import PigmentSyncError
from tests.simulation.fed_history import FedHistory
from tests.simulation.history import LENGTH, History, Lived, live_through
from tests.simulation.loop import run_virtually
from tests.simulation.process import Died, Happening, Reached

__all__ = ["batches", "live", "shortest", "survive"]

BATCH = 10


def live(seed: int, length: int = LENGTH, *, has_feed: bool = False, in_flight: int | None = None) -> Lived:
    """Live through the first *length* steps of the history of *seed*, in virtual time. Raises what broke it.

    The histories in which processes have change feeds are others, with numbers of their own. So are those in which
    agents send *in_flight* changes at once, where the history of the same seed draws another number.
    """
    kind = FedHistory if has_feed else History
    return run_virtually(live_through(seed, length, kind, in_flight), (Died, PigmentSyncError))


def survive(seeds: tuple[int, ...], *, has_feed: bool = False, in_flight: int | None = None) -> tuple[Lived, list[str]]:
    """Live through the histories of *seeds*; return what they were, and a line for each that failed."""
    whole, failures = Lived(), []
    for seed in seeds:
        try:
            lived = live(seed, has_feed=has_feed, in_flight=in_flight)
        except Exception as error:  # noqa: BLE001  (whatever ends a history is its result)
            failures.append(f"seed {seed}: {type(error).__name__}: {error}")
        else:
            whole.writes += lived.writes
            whole.reached += lived.reached
            whole.happened += lived.happened
    return whole, failures


def shortest(seed: int, *, has_feed: bool = False, in_flight: int | None = None) -> int:
    """Return how many first steps of the history of *seed* are enough to break it."""
    for length in range(LENGTH):
        try:
            live(seed, length, has_feed=has_feed, in_flight=in_flight)
        except Exception:  # noqa: BLE001  (it is broken, however)
            return length
    return LENGTH


def batches(seed: int, runs: int, size: int = BATCH) -> list[tuple[int, ...]]:
    return [tuple(range(first, min(first + size, seed + runs))) for first in range(seed, seed + runs, size)]


def table(reached: Reached) -> str:
    """Return how often each point was passed, and how often each thing happened to a process there."""
    happenings = [each.value for each in Happening]
    points = sorted({point for point, _, _ in reached})
    rows = [["point", "passed", *happenings, "while another process ran", "while people moved"]]
    for point in points:
        outcomes = {key: count for key, count in reached.items() if key[0] == point}
        happened = [sum(count for key, count in outcomes.items() if key[1] == each) for each in happenings]
        beside = [
            sum(count for key, count in outcomes.items() if key[1] and word in key[2])
            for word in ("another process", "moving")
        ]
        rows.append([point, *(f"{number:,}" for number in (sum(outcomes.values()), *happened, *beside))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--length", type=int, help="live through the first so many steps of the one history of --seed")
    parser.add_argument("--feed", action="store_true", help="histories in which processes have change feeds")
    parser.add_argument(
        "--in-flight", type=int, help="how many changes agents send at once; else each history draws it"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--until", help="end with the first that is broken in a way that holds this text")
    parser.add_argument(
        "--reached", action="store_true", help="print which waits were reached, and what happened there"
    )
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if options.length is not None:
        live(options.seed, options.length, has_feed=options.feed, in_flight=options.in_flight)
        sys.stdout.write(f"seed {options.seed} is not broken by its first {options.length} steps\n")
        return 0
    started = time.monotonic()
    whole, failures = Lived(), []
    with ProcessPoolExecutor(options.processes) as pool:
        todo = [
            pool.submit(survive, seeds, has_feed=options.feed, in_flight=options.in_flight)
            for seeds in batches(options.seed, options.runs)
        ]
        for number, done in enumerate(todo, 1):
            some, broken = done.result()
            whole.writes += some.writes
            whole.reached += some.reached
            whole.happened += some.happened
            failures += broken
            sys.stderr.write("".join(f"{line}\n" for line in broken))
            if sys.stderr.isatty() or number % 500 == 0:
                sys.stderr.write(f"{number} of {len(todo)} batches, {len(failures)} broken\n")
            if options.until is not None and any(options.until in line for line in broken):
                pool.shutdown(cancel_futures=True)
                break
    for line in failures[:50]:
        sys.stdout.write(f"{line}\n")
    if failures and options.until is None:
        seed = int(failures[0].split()[1].rstrip(":"))
        kind = "--feed " if options.feed else ""
        kind += f"--in-flight {options.in_flight} " if options.in_flight else ""
        length = shortest(seed, has_feed=options.feed, in_flight=options.in_flight)
        sys.stdout.write(f"To see the first again: scripts/simulate {kind}--seed {seed} --length {length}\n")
    if options.reached:
        sys.stdout.write(f"{table(whole.reached)}\n")
        sys.stdout.write("".join(f"{count:>9,} {what}\n" for what, count in sorted(whole.happened.items())))
    seconds = time.monotonic() - started
    histories = f"{options.runs} histories{' with feeds' if options.feed else ''} from seed {options.seed}"
    sys.stdout.write(f"{histories}, {whole.writes} writes, {len(failures)} broken, {seconds:.0f} s\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
