"""Since when a hold waits: carried from plan to plan, shown in words, and no part of a digest."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.model import Hold, Kind
from agent.report.document import encode_plan, plan_document, workspace_digest, workspace_object
from agent.report.hold_age import (
    age_phrase,
    has_plan,
    held_since,
    hold_key,
    oldest_waiting,
    waiting_since,
    with_hold_ages,
)
from agent.report.render import Format, RenderOptions, render
from agent.report.run_identity import with_run
from agent.report.schema import Document
from tests.golden import samples
from tests.golden.samples import a_foreigner, a_guarded_leaver, a_plan, a_swap, latam

FIRST = datetime(2026, 2, 27, 9, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = "2026-03-01T12:00:00Z"


def since(hold: Hold, *, now: datetime = NOW) -> datetime | None:
    """Return since when *hold* waits, where the plan before held `a_foreigner` since `FIRST`."""
    before = with_hold_ages(a_plan(holds=(a_foreigner(),)), {}, FIRST)
    earlier = waiting_since(encode_plan(before), FIRST + timedelta(hours=1))
    (found,) = with_hold_ages(a_plan(holds=(hold,)), earlier, now).holds
    return found.since


def test_same_hold_of_the_same_person_keeps_its_time_whatever_its_words_and_address() -> None:
    assert since(a_foreigner()) == FIRST
    assert since(replace(a_foreigner(), email="other@elsewhere.example.com", reason="Again.", remedy="")) == FIRST


@pytest.mark.parametrize("other", [{"code": "missing-name"}, {"kind": Kind.REACTIVATE}, {"person": None}])
def test_other_hold_of_the_same_person_begins_now(other: dict[str, object]) -> None:
    assert since(replace(a_foreigner(), **other)) == NOW  # type: ignore[arg-type]  # fields by name


def test_hold_without_a_person_is_known_by_its_member_or_else_its_email() -> None:
    by_member = replace(a_swap(), person=None)
    by_email = replace(a_foreigner(), person=None)
    earlier = waiting_since(encode_plan(with_hold_ages(a_plan(holds=(by_member, by_email)), {}, FIRST)), NOW)
    renamed = replace(by_member, email="new@acme.com")
    folded = replace(by_email, email=by_email.email.upper())
    found = with_hold_ages(a_plan(holds=(renamed, folded, replace(by_email, email="x@acme.com"))), earlier, NOW)
    assert [hold.since for hold in found.holds] == [FIRST, FIRST, NOW]


def test_holds_of_a_plan_without_times_wait_at_least_since_that_plan() -> None:
    earlier = waiting_since(encode_plan(a_plan(holds=(a_foreigner(),))), FIRST)
    (hold,) = with_hold_ages(a_plan(holds=(a_foreigner(),)), earlier, NOW).holds
    assert hold.since == FIRST


def test_only_a_plan_has_times() -> None:
    unplanned, planned = samples.a_document()["workspaces"][2], samples.a_document()["workspaces"][0]
    assert (has_plan(json.dumps(planned).encode()), has_plan(json.dumps(unplanned).encode())) == (True, False)


def test_times_stand_in_the_order_of_the_holds_and_outside_the_digest() -> None:
    plan = latam()
    aged = replace(plan, holds=tuple(replace(hold, since=FIRST) for hold in plan.holds[::-1]))
    mixed = replace(aged, holds=(replace(aged.holds[0], since=NOW), *aged.holds[1:]))
    objects = [workspace_object(each) for each in (plan, aged, mixed)]
    assert len({each["digest"] for each in objects}) == 1
    assert {workspace_digest(each) for each in objects} == {objects[0]["digest"]}
    assert aged == replace(plan, holds=plan.holds[::-1]), "an age does not make another hold"
    shown = objects[2]
    assert shown["status"] == "planned"
    times = dict(zip((hold["email"] for hold in shown["holds"]), shown.get("held_since", []), strict=True))
    assert [email for email, time in times.items() if time == AT] == [aged.holds[0].email]


def test_times_that_do_not_fit_the_holds_are_not_shown() -> None:
    planned = workspace_object(with_hold_ages(a_plan(holds=(a_foreigner(),)), {}, FIRST))
    assert planned["status"] == "planned"
    planned["held_since"] = []
    assert held_since(planned) == [""]
    assert "on hold since" not in render(plan_document([planned], AT), Format.TEXT)


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(days=2, hours=3), "on hold since 2026-02-27 (2 days)"),
        (timedelta(days=1), "on hold since 2026-02-28 (1 day)"),
        (timedelta(hours=23, minutes=59), "on hold since 2026-02-28 12:01 UTC (23 hours)"),
        (timedelta(minutes=1), "on hold since 2026-03-01 11:59 UTC (1 minute)"),
        (timedelta(seconds=5), "on hold since 2026-03-01 11:59 UTC (less than a minute)"),
        (timedelta(0), "on hold since 2026-03-01 12:00 UTC (less than a minute)"),
    ],
)
def test_age_is_a_sentence(age: timedelta, words: str) -> None:
    assert age_phrase(f"{NOW - age:%Y-%m-%dT%H:%M:%SZ}", AT) == words


def test_age_of_a_new_hold_is_the_run_and_an_edited_time_is_harmless() -> None:
    assert age_phrase("2026-03-01T11:59:30Z", AT, "2026-03-01T11:59:00Z") == "on hold since this run"
    assert age_phrase("", AT) == ""
    assert age_phrase("\x1b[31m", AT) == "on hold since \\x1b[31m"
    assert age_phrase("2026-03-01", AT) == "on hold since 2026-03-01"


def aged_document() -> Document:
    holds = tuple(replace(a_guarded_leaver(number), since=FIRST) for number in range(3))
    plan = a_plan(holds=(*holds, replace(a_foreigner(), since=FIRST), replace(a_swap(), since=NOW)))
    return plan_document([with_run(workspace_object(plan), samples.a_past_run(), ())], AT)


@pytest.mark.parametrize("form", [Format.TEXT, Format.HTML])
def test_age_of_a_group_of_holds_stands_once(form: Format) -> None:
    shown = render(aged_document(), form, RenderOptions(width=200))
    assert shown.count("on hold since 2026-02-27 (2 days)") == 2
    assert shown.count("on hold since this run") == 1


def test_each_row_of_markdown_json_and_csv_has_its_age() -> None:
    shown = render(aged_document(), Format.MARKDOWN)
    assert shown.count("On hold since 2026-02-27 (2 days).") == 4
    assert shown.count("On hold since this run.") == 1
    (workspace,) = json.loads(render(aged_document(), Format.JSON))["workspaces"]
    assert sorted(workspace["held_since"]) == ["2026-02-27T09:00:00Z"] * 4 + [AT]
    rows = list(csv.DictReader(io.StringIO(render(aged_document(), Format.CSV))))
    times = [row["held_since"] for row in rows if row["row"] == "hold"]
    assert sorted(times) == ["2026-02-27T09:00:00Z"] * 4 + [AT]
    assert {row["held_since"] for row in rows if row["row"] != "hold"} == {""}


def test_oldest_hold_that_waits_leaves_out_toggles_and_what_was_made() -> None:
    leaver, toggled = a_guarded_leaver(1), replace(a_swap(), code="toggle-off", change=None)
    assert leaver.change is not None
    plan = a_plan(holds=(a_foreigner(), leaver, toggled))
    times = {hold_key(toggled): FIRST - timedelta(days=9), hold_key(leaver): FIRST}
    document = encode_plan(with_hold_ages(plan, times, NOW))

    assert oldest_waiting(document, NOW, ()) == FIRST
    assert oldest_waiting(document, NOW, [leaver.change]) == NOW
    assert oldest_waiting(encode_plan(a_plan(holds=(toggled,))), NOW, ()) is None
