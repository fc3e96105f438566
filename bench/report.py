"""Measure the time and the memory that each rendering of a big plan takes: `.venv/bin/python -m bench.report`.

Each format is rendered by a process of its own, from the bytes of a saved plan, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from agent.model import NO_FIELDS, Change, Fields, GroupRef, Hold, Kind, MemberCounts, Mode, Note, Plan, SourceCounts
from agent.plan_parser import parse_document
from agent.report.document import encode_document, plan_document, workspace_object
from agent.report.render import Format, RenderOptions, render
from connectors.base import PersonKey

NAMES = ("Ana Souza", "João Pereira", "Zoë O'Brien", "李伟", "Łukasz Nowak", "Maria-José de la Cruz y Santos")
GROUPS = tuple(GroupRef(f"00g{number}", f"Pigment {number}") for number in range(40))


def make_change(number: int) -> Change:
    """Return one of the kinds, in the proportions of a first sync with leavers."""
    email, name = f"person.{number}@acme.com", f"{NAMES[number % len(NAMES)]} {number}"
    group = GROUPS[number % len(GROUPS)]
    person = PersonKey("okta-main", f"00u{number:017}")
    who = f"{name} <{email}>"
    scim_id: str | None = f"scim-{number}"
    if number % 10 == 0:
        kind, code = Kind.DEACTIVATE, "left-groups"
        before, after = Fields(active=True), Fields(active=False)
        reason = f"{who} left the group {group.name} and has no other assignment."
    elif number % 10 == 1:
        kind, code = Kind.UPDATE_EMAIL, "email-changed"
        before, after = Fields(email=f"old.{number}@acme.com"), Fields(email=email)
        reason = f"The email of {who} at the source has changed."
    else:
        kind, code, scim_id = Kind.CREATE, "not-in-workspace", None
        before, after = NO_FIELDS, Fields(email, name, True)
        reason = f"{who} is assigned through {group.name} and is not a member of the workspace."
    return Change(
        kind=kind,
        email=email,
        display_name=name,
        scim_id=scim_id,
        person=person,
        before=before,
        after=after,
        code=code,
        reason=reason,
        group_refs=(group,),
    )


def make_hold(number: int) -> Hold:
    change = make_change(number * 10)
    return Hold(
        kind=change.kind,
        code="max-deactivations",
        email=change.email,
        reason=f"{change.reason} More would be deactivated than are allowed at once.",
        remedy="Look at who they are, then approve the plan.",
        scim_id=change.scim_id,
        person=change.person,
        change=change,
    )


def make_plan(people: int) -> Plan:
    """Return a plan with a row for each of *people*: nine in ten changes, the others holds and notes."""
    held = people // 20
    groups = tuple((group.id, group.name, people // 40) for group in GROUPS)
    source = SourceCounts(
        connector="okta-main", app="0oa1b2c3d4", people=people, entitled=people, groups=groups, individual=0
    )
    return Plan(
        workspace="pigment-latam",
        mode=Mode.ENFORCE,
        sources=(source,),
        members=MemberCounts(total=people, active=people, linked=people, guarded=people),
        in_sync=0,
        changes=tuple(map(make_change, range(people - 2 * held))),
        holds=tuple(map(make_hold, range(people, people + held))),
        notes=tuple(
            Note("unmanaged", f"u{number}@acme.com", f"u{number}@acme.com is unknown.") for number in range(held)
        ),
    )


def measure(form: Format, raw: bytes) -> dict[str, float]:
    """Return what reading and rendering *raw* cost this process: seconds, megabytes at the peak, size of the result."""
    start = time.perf_counter()
    shown = render(parse_document(raw), form, RenderOptions(verbose=True)).encode()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "megabytes": peak, "size": len(shown) / 1e6}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--people", type=int, default=20_000)
    options.add_argument("--save", type=Path, help="keep the plan as plan.json and its renderings in this folder")
    options.add_argument("--format", type=Format, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.format:
        print(json.dumps(measure(given.format, sys.stdin.buffer.read())))
        return
    start = time.perf_counter()
    raw = encode_document(plan_document([workspace_object(make_plan(given.people))], "2026-03-01T12:00:00Z"))
    print(f"a plan of {given.people:,} people: {len(raw) / 1e6:.1f} MB, made in {time.perf_counter() - start:.2f} s")
    print(f"{'format':<10}{'seconds':>9}{'peak MB':>9}{'size MB':>9}")
    for form in Format:
        command = [sys.executable, "-m", "bench.report", "--format", form]
        result = json.loads(subprocess.run(command, input=raw, stdout=subprocess.PIPE, check=True).stdout)
        print(f"{form:<10}{result['seconds']:>9.2f}{result['megabytes']:>9.0f}{result['size']:>9.2f}")
        if given.save:
            given.save.mkdir(parents=True, exist_ok=True)
            (given.save / f"plan.{form}").write_text(
                render(parse_document(raw), form, RenderOptions(verbose=True)), encoding="utf-8"
            )


if __name__ == "__main__":
    main()
