"""Time and memory of planning: `.venv/bin/python -m bench.planner [--sizes 1000 10000 100000 1000000]`.

For each size: all in sync and as the last run left them, all in sync with a group renamed that everyone is in, all new,
all adopted. CPU seconds, because a plan is one thread and the
machine may have other work; peak memory is of the process, with the people and the members in it.
"""

from __future__ import annotations

import argparse
import gc
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

from agent.engine.confirm import compute_plan_without_gc
from agent.guard.hold import apply_guards
from agent.guard.results import GuardHistory
from agent.model import GroupRef, Inputs, Link, Listing, Member, Memory, Mode, Policy
from agent.settings.workspace import LimitSettings
from connectors.base import Group, Person, PersonKey, Snapshot, Source

SIZES = (1_000, 10_000, 100_000, 1_000_000)
KINDS = ("in-sync", "renamed", "all-new", "adopted")
SOURCE = Source("okta-main", "0oapigment")


def make_inputs(kind: str, size: int) -> Inputs:
    """Return *size* people, and as many members where the kind has some."""
    people = tuple(
        Person(SOURCE.connector, f"00u{number}", f"person{number}@acme.com", f"Person {number}", groups=("g1",))
        for number in range(size)
    )
    members = tuple(
        Member(f"m{number}", f"person{number}@acme.com", f"Person {number}", True) for number in range(size)
    )
    snapshot = Snapshot(SOURCE, "Pigment", (Group("g1", "Planners", size),), people)
    listing = Listing(() if kind == "all-new" else members)
    is_known = kind in {"in-sync", "renamed"}
    return Inputs(
        (snapshot,), listing, make_memory(size, "Former" if kind == "renamed" else "Planners") if is_known else Memory()
    )


def make_memory(size: int, group_name: str) -> Memory:
    """Return the memory of a run that left everyone in sync, through a group that had that name."""
    groups = (GroupRef("g1", group_name),)
    links = tuple(Link(PersonKey(SOURCE.connector, f"00u{number}"), f"m{number}", groups) for number in range(size))
    return Memory(links, last_seen=(), new_ids=frozenset())


def measure(kind: str, size: int) -> str:
    given = make_inputs(kind, size)
    policy = Policy("latam", (SOURCE,), mode=Mode.ENFORCE, limits=LimitSettings().limits())
    gc.collect()
    started = time.process_time()
    plan = apply_guards(compute_plan_without_gc(given, policy), policy, GuardHistory())
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    rate = seconds / size * 1_000_000
    return (
        f"{kind:>8}  {size:>9,}  {seconds:7.2f} s  {rate:5.1f} µs each  {peak:>5} MiB  {len(plan.changes):>9,} changes"
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(measure(options.one[0], int(options.one[1])))
        return 0
    for kind in KINDS:
        for size in options.sizes:
            # Each in a process of its own: memory that one gave back would hide what the next one takes.
            subprocess.run([sys.executable, "-m", "bench.planner", "--one", kind, str(size)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
