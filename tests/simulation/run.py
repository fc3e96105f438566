"""Run many histories (`scripts/simulate --runs 100000 --seed 1`). A failure names the seed that repeats it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import structlog

from tests.simulation.history import live_through

__all__ = ["batches", "survive"]

BATCH = 50


def survive(seeds: tuple[int, ...]) -> tuple[int, list[str]]:
    """Live through the histories of *seeds*; return how many writes there were, and a line for each that failed."""

    async def all_of_them() -> tuple[int, list[str]]:
        writes, failures = 0, []
        for seed in seeds:
            try:
                writes += await live_through(seed)
            except Exception as error:  # noqa: BLE001  (whatever ends a history is its result)
                failures.append(f"seed {seed}: {type(error).__name__}: {error}")
        return writes, failures

    return asyncio.run(all_of_them())


def batches(seed: int, runs: int) -> list[tuple[int, ...]]:
    return [tuple(range(first, min(first + BATCH, seed + runs))) for first in range(seed, seed + runs, BATCH)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--first", action="store_true", help="end with the first that is broken")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    started = time.monotonic()
    writes, failures = 0, []
    with ProcessPoolExecutor(asked.processes) as pool:
        todo = [pool.submit(survive, seeds) for seeds in batches(asked.seed, asked.runs)]
        for number, done in enumerate(todo, 1):
            some, broken = done.result()
            writes += some
            failures += broken
            sys.stderr.write("".join(f"{line}\n" for line in broken))
            if sys.stderr.isatty() or number % 100 == 0:
                sys.stderr.write(f"{number} of {len(todo)} batches, {len(failures)} broken\n")
            if failures and asked.first:
                pool.shutdown(cancel_futures=True)
                break
    for line in failures[:50]:
        sys.stdout.write(f"{line}\n")
    seconds = time.monotonic() - started
    told = f"{asked.runs} histories from seed {asked.seed}, {writes} writes, {len(failures)} broken, {seconds:.0f} s"
    sys.stdout.write(f"{told}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
