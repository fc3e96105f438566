"""The plan document: what its digest covers, its schema, and a round trip with any name."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from agent.errors import UsageError
from agent.model import Change, Fields, Guard, Mode, Note, Plan, Unplanned
from agent.model.run import Pause
from agent.plan_parser import parse_document, parse_workspace
from agent.report.document import (
    CHANGES_AT_ONCE,
    document_parts,
    encode_document,
    encode_plan,
    encode_workspace,
    plan_digest,
    plan_document,
    plan_parts,
    shown_workspace,
    to_json_bytes,
    workspace_digest,
    workspace_object,
)
from agent.report.run_identity import with_run
from agent.report.schema import COUNT_KEYS, Document, PlannedObject
from tests.golden import samples
from tests.golden.samples import MADE_AT, a_create, a_document, a_guard, a_leaver, a_plan, latam


def planned(plan: Plan) -> PlannedObject:
    shown = workspace_object(plan)
    assert shown["status"] == "planned"
    return shown


def test_document_is_read_back_as_it_was_written() -> None:
    whole = a_document()
    assert parse_document(encode_document(whole)) == whole


def test_document_of_no_workspaces_is_read_back() -> None:
    whole = plan_document([], MADE_AT)
    assert parse_document(encode_document(whole)) == whole


def test_workspace_is_read_back_as_the_journal_kept_it() -> None:
    for workspace in a_document()["workspaces"]:
        assert parse_workspace(encode_workspace(workspace)) == workspace


def test_encoded_document_is_utf8_with_sorted_keys_and_one_newline_at_the_end() -> None:
    raw = encode_document(a_document())
    assert raw.endswith(b"}\n")
    assert not raw.endswith(b"\n\n")
    assert "João Pereira".encode() in raw
    keys: list[list[str]] = []
    json.loads(raw, object_pairs_hook=lambda pairs: keys.append([key for key, _ in pairs]))
    assert all(some == sorted(some) for some in keys)


def test_digest_can_be_computed_by_anybody_with_a_json_library(tmp_path: Path) -> None:
    """The rule is the one that the page on reports prints."""
    page = (Path(__file__).parents[2] / "docs" / "reports.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    aged = samples.aged(latam())
    plan = plan_document([workspace_object(replace(aged, notes=(*aged.notes, *BY_THE_LAST_RUN)))], MADE_AT)
    (tmp_path / "plan.json").write_bytes(encode_document(plan))
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    plan["workspaces"][0]["name"] = "other"
    (tmp_path / "plan.json").write_bytes(encode_document(plan))
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False, capture_output=True).returncode


def test_document_digest_covers_every_workspace_and_their_order() -> None:
    objects = a_document()["workspaces"]
    digests = {plan_document(some, MADE_AT)["digest"] for some in (objects, objects[:2], objects[::-1])}
    assert len(digests) == 3


def test_document_digest_does_not_know_the_time() -> None:
    objects = a_document()["workspaces"]
    assert plan_document(objects, MADE_AT)["digest"] == plan_document(objects, "2031-01-01T00:00:00Z")["digest"]


def test_digest_stays_when_only_the_numbers_of_guards_move() -> None:
    plan = latam()
    moved = replace(a_guard(27), recent=9, message="27 and 9 are more than 25.")
    assert planned(replace(plan, guards=(moved,)))["digest"] == planned(plan)["digest"]


def test_digest_stays_when_holds_notes_and_groups_come_in_another_order() -> None:
    plan = latam()
    sources = tuple(replace(source, groups=source.groups[::-1]) for source in plan.sources)
    turned = replace(plan, holds=plan.holds[::-1], notes=plan.notes[::-1], sources=sources)
    assert planned(turned)["digest"] == planned(plan)["digest"]


BY_THE_LAST_RUN = tuple(Note(code, "ann@acme.com", "Ann.") for code in ("another-writer", "drift", "in-grace"))


@pytest.mark.parametrize("note", BY_THE_LAST_RUN, ids=lambda each: each.code)
def test_digest_stays_when_a_note_goes_that_compares_with_the_last_run(note: Note) -> None:
    plan = latam()
    noted = planned(replace(plan, notes=(*plan.notes, note)))

    assert noted["digest"] == planned(plan)["digest"]
    assert (len(noted["notes"]), noted["counts"]["note"]) == (len(plan.notes) + 1, len(plan.notes) + 1)


def test_digest_by_the_rule_before_is_still_read() -> None:
    """The journal has plans of releases whose digest covered every note."""
    noted = planned(replace(latam(), notes=BY_THE_LAST_RUN, shrunk_groups=()))
    covered = {key: value for key, value in noted.items() if key not in ("digest", "guards")}
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    noted["digest"] = "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    assert parse_workspace(encode_workspace(noted)) == noted
    noted["notes"][0]["reason"] = "Another."
    with pytest.raises(UsageError, match="does not match its digest"):
        parse_workspace(encode_workspace(noted))


MOVED: list[Callable[[Plan], Plan]] = [
    lambda plan: replace(plan, mode=Mode.DRY_RUN),
    lambda plan: replace(plan, in_sync=plan.in_sync + 1),
    lambda plan: replace(plan, members=replace(plan.members, active=1)),
    lambda plan: replace(plan, changes=plan.changes[::-1]),
    lambda plan: replace(plan, changes=plan.changes[1:]),
    lambda plan: replace(plan, holds=plan.holds[1:]),
    lambda plan: replace(plan, notes=plan.notes[1:]),
    lambda plan: replace(plan, changes=(replace(plan.changes[0], after=Fields(email="x@acme.com")),)),
    lambda plan: replace(plan, changes=(replace(plan.changes[0], reason="Another."),)),
    lambda plan: replace(plan, changes=(replace(plan.changes[0], given_name="Another"),)),
    lambda plan: replace(plan, changes=(replace(plan.changes[0], waits_for="scim-9"),)),
    lambda plan: replace(plan, holds=(replace(plan.holds[0], change=a_create()),)),
]


@pytest.mark.parametrize("move", MOVED)
def test_digest_changes_with_anything_that_would_be_done_or_shown(move: Callable[[Plan], Plan]) -> None:
    plan = latam()
    one = replace(plan, changes=plan.changes[:1]) if len(move(plan).changes) == 1 else plan
    assert planned(move(one))["digest"] != planned(one)["digest"]


def test_digest_of_an_unplanned_workspace_does_not_know_the_wording_of_its_error() -> None:
    busy = Unplanned(
        workspace="w", mode=Mode.ENFORCE, status="busy", code="busy", message="Held since 12:00.", remedy="Wait."
    )
    later = replace(busy, message="Held since 12:05.", remedy="Wait 5 minutes.")
    assert workspace_object(busy)["digest"] == workspace_object(later)["digest"]
    assert workspace_object(busy)["digest"] != workspace_object(replace(busy, code="lost"))["digest"]


def test_unplanned_workspace_has_an_error_and_no_changes() -> None:
    shown = a_document()["workspaces"][2]
    assert shown["status"] == "credentials"
    assert shown["error"]["remedy"] == "Renew the client secret of onelogin-apac."
    assert (shown["changes"], shown["holds"], shown["notes"]) == ([], [], [])
    assert "counts" not in shown


def test_counts_have_every_key_even_when_nothing_is_there() -> None:
    assert planned(a_plan())["counts"] == {key: 398 if key == "in-sync" else 0 for key in COUNT_KEYS}


def test_counts_are_those_of_the_lists() -> None:
    counts = planned(latam())["counts"]
    names = len(samples.HOSTILE)
    assert counts == {
        "create": 1 + names,
        "adopt": 1,
        "update-name": 1,
        "update-email": 1,
        "reactivate": 1,
        "deactivate": 1,
        "hold": 29,
        "note": 3,
        "in-sync": 398,
    }


def test_before_and_after_hold_only_what_changes() -> None:
    same_name = replace(
        samples.a_marriage(), before=Fields("a@acme.com", "Ana", True), after=Fields("b@acme.com", "Ana", True)
    )
    shown = planned(a_plan(changes=(same_name,)))["changes"][0]
    assert (shown["before"], shown["after"]) == ({"email": "a@acme.com"}, {"email": "b@acme.com"})


def test_hold_shows_the_change_that_an_approval_would_release() -> None:
    shown = planned(a_plan(holds=(samples.a_guarded_leaver(1),)))["holds"][0]
    assert shown["before"] == {"active": True}
    assert shown["after"] == {"active": False}
    assert shown["change_code"] == "left-groups"
    assert shown["groups"] == ["Pigment LatAm"]


def test_hold_that_no_approval_releases_shows_no_change() -> None:
    shown = planned(a_plan(holds=(samples.a_swap(),)))["holds"][0]
    assert shown["wanted"] == "max@acme.com"
    assert "after" not in shown


def test_guard_names_the_first_ten_and_counts_all() -> None:
    guard: Guard = a_guard(27)
    shown = planned(a_plan(guards=(guard,)))["guards"][0]
    assert (shown["affected"], shown["first"]) == (27, list(guard.affected[:10]))


def test_lone_surrogates_are_spelled_out_and_distinguished() -> None:
    plans = [planned(a_plan(changes=(a_leaver(name=f"half {half}"),))) for half in ("\ud83d", "\ud83e")]
    assert plans[0]["changes"][0]["display_name"] == "half \\ud83d"
    assert plans[0]["digest"] != plans[1]["digest"]
    assert workspace_digest(plans[0]) == plans[0]["digest"]


def test_written_json_cannot_reverse_a_terminal_and_means_the_same() -> None:
    name = "\u202egnp\u0085\x7f\U000e0041\x1b[31m"
    whole = plan_document([workspace_object(a_plan(changes=(a_leaver(name=name),)))], MADE_AT)
    raw = encode_document(whole)
    assert not set("\u202e\u0085\x7f\U000e0041\x1b") & set(raw.decode())
    assert parse_document(raw)["workspaces"][0]["changes"][0]["display_name"] == name


def test_document_names_the_only_person_of_the_run() -> None:
    assert plan_document([], "2026-03-01T12:00:00Z", "ann@acme.com").get("user") == "ann@acme.com"
    assert "user" not in plan_document([], "2026-03-01T12:00:00Z")


def test_pause_stands_in_the_document_and_outside_its_digest() -> None:
    pause = Pause(datetime(2026, 3, 1, 12, tzinfo=UTC), "ops", "a mistake")
    shown, paused = workspace_object(latam()), workspace_object(replace(latam(), pause=pause))
    assert paused["status"] == "planned"

    assert paused["paused"] == {"by": "ops", "since": "2026-03-01T12:00:00Z", "reason": "a mistake"}
    assert paused["digest"] == shown["digest"]
    assert parse_workspace(encode_workspace(paused)) == paused
    assert "paused" not in shown


def test_digests_do_not_change_with_the_run() -> None:
    whole = a_document()
    other = replace(samples.a_past_run(), id="20270101-000000-000000", by="eve@acme.com", provenance=None)
    for run in (samples.a_past_run(), other):
        objects = [with_run(each, run, samples.approvals()) for each in whole["workspaces"]]
        assert [workspace_digest(each) for each in objects] == [each["digest"] for each in whole["workspaces"]]
        shown = plan_document(objects, MADE_AT)
        assert shown["digest"] == whole["digest"]
        assert parse_document(encode_document(shown)) == shown


def many_leavers() -> tuple[Change, ...]:
    return tuple(
        a_leaver(name=f"Bea \udcff {number}" if number == CHANGES_AT_ONCE else f"Bea\x9b {number}")
        for number in range(CHANGES_AT_ONCE * 2 + 1)
    )


def test_plan_of_many_changes_is_written_in_parts_as_it_is_whole() -> None:
    many = many_leavers()
    for changes in (many, many[:CHANGES_AT_ONCE], many[:1], ()):
        plan = a_plan(changes=changes)
        whole = workspace_object(plan)
        assert len(whole["changes"]) == len(changes)
        assert plan_digest(plan) == workspace_digest(whole) == whole["digest"]
        assert encode_plan(plan) == encode_plan(plan, whole["digest"]) == encode_workspace(whole)
        assert max(map(len, plan_parts(plan))) < 600 * CHANGES_AT_ONCE


def test_document_whose_changes_are_made_where_they_are_read_is_written_as_the_whole_one() -> None:
    many = many_leavers()
    failed = Unplanned(workspace="emea", mode=Mode.ENFORCE, status="busy", code="busy", message="No.", remedy="Wait.")
    plans = (a_plan(changes=many), latam(), failed, a_plan("apac", changes=many[:CHANGES_AT_ONCE]))
    whole = plan_document([workspace_object(plan) for plan in plans], MADE_AT)
    shown = plan_document([shown_workspace(plan, plan_digest(plan)) for plan in plans], MADE_AT)
    others: dict[str, object] = {"outcomes": {"changes": [], "latam": [{"changes": []}]}}

    assert list(shown["workspaces"][0]["changes"]) == whole["workspaces"][0]["changes"]
    assert encode_document(shown) == encode_document(whole) == to_json_bytes(whole)
    assert b"".join(document_parts(shown, others)) == to_json_bytes({**whole, **others})
    assert max(map(len, document_parts(shown))) < 600 * CHANGES_AT_ONCE


def test_document_with_unknown_keys_is_written_as_it_is() -> None:
    unknown: object
    for unknown in ({"changes": []}, [{"changes": []}], '\n      "changes": []'):
        whole = cast("Document", {**a_document(), "a": {"b": unknown}, "changes": [], "z": unknown})
        assert encode_document(whole) == to_json_bytes(whole)
