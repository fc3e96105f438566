"""What is new in a report: what came and went, who must act, and nothing concluded about what could not be read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from agent.model import Guard, Hold, Kind, Mode, Unplanned
from agent.model.access import Access
from agent.model.report import ReportFormat
from agent.report.delivered import AccessContent, Heading, PlanContent, render_report, summary, title
from agent.report.document import plan_document, workspace_object
from agent.report.news import (
    Facts,
    News,
    Unread,
    WaitingHold,
    access_facts,
    compare,
    decode_facts,
    encode_facts,
    facts_digest,
    plan_facts,
    waiting_holds,
)
from agent.report.schema import WorkspaceObject
from connectors.base import PersonKey
from tests.golden.samples import a_guarded_leaver, a_plan
from tests.state_samples import NOW

HEADING = Heading("weekly-20260301T120000Z", "weekly", "plan", NOW, NOW)
UNREAD = Unplanned(
    workspace="eu", mode=Mode.ENFORCE, status="credentials", code="credentials", message="Refused.", remedy="Renew it."
)


def a_hold(email: str, code: str = "domain-not-allowed") -> Hold:
    return Hold(
        kind=Kind.CREATE,
        code=code,
        email=email,
        reason="The domain is not allowed.",
        remedy="Allow it.",
        person=PersonKey("okta-main", email),
        since=NOW,
    )


def shown(name: str, *holds: Hold) -> WorkspaceObject:
    return workspace_object(a_plan(name, holds=holds))


def an_access(email: str, *groups: str, workspace: str = "latam") -> Access:
    return Access(
        workspace=workspace,
        email=email,
        display_name="",
        scim_id=email,
        person=None,
        groups=groups,
        exceptions=(),
    )


def news_of(now: Facts, before: Facts | None) -> News:
    return compare(now, before, NOW if before else None, (), ())


def test_entries_that_came_and_went_are_named() -> None:
    before = plan_facts([shown("latam", a_hold("a@acme.com"), a_hold("b@acme.com"))], None)
    now = plan_facts([shown("latam", a_hold("b@acme.com"), a_hold("c@acme.com"))], before)
    news = news_of(now, before)

    assert [each.text for each in news.new] == ["on hold: create c@acme.com (domain-not-allowed)"]
    assert [each.text for each in news.gone] == ["on hold: create a@acme.com (domain-not-allowed)"]
    assert facts_digest(now) != facts_digest(before)
    assert news_of(now, now).new == news_of(now, now).gone == ()


def test_first_report_has_no_news() -> None:
    news = news_of(plan_facts([shown("latam", a_hold("a@acme.com"))], None), None)

    assert (news.since, news.new, news.gone) == (None, (), ())
    assert "the first one" in title(HEADING, news)


def test_nothing_is_gone_from_a_workspace_that_could_not_be_read() -> None:
    before = plan_facts([shown("eu", a_hold("a@acme.com")), shown("latam", a_hold("b@acme.com"))], None)
    between = plan_facts([workspace_object(UNREAD), shown("latam")], before)
    after = plan_facts([shown("eu", a_hold("a@acme.com")), shown("latam")], between)

    assert [each.text for each in news_of(between, before).gone] == ["on hold: create b@acme.com (domain-not-allowed)"]
    assert news_of(between, before).unread == (Unread("eu", "Refused.", "Renew it."),)
    assert (news_of(after, between).new, news_of(after, between).gone) == ((), ())
    assert facts_digest(between) != facts_digest(after)


def test_access_through_other_groups_is_a_change() -> None:
    before = access_facts([an_access("a@acme.com", "Planners")], (), None)
    now = access_facts([an_access("a@acme.com", "Viewers")], (), before)
    (changed,) = news_of(now, before).changed

    assert (changed[0].text, changed[1], changed[0].value) == ("a@acme.com", "Planners", "Viewers")


def test_facts_survive_the_state() -> None:
    facts = plan_facts([workspace_object(UNREAD), shown("latam", a_hold("zoë@acme.com"))], None)

    assert decode_facts(encode_facts(facts)) == facts
    assert decode_facts(b"") is None
    assert decode_facts(b'{"version": 99}') is None


def test_each_hold_has_its_age_and_who_must_act() -> None:
    leaver = a_guarded_leaver(1)
    guard = Guard(code="max-deactivations", count=30, recent=0, limit="25", message="Too many.", affected=("x",))
    held = replace(leaver, since=NOW)
    workspace = workspace_object(a_plan("latam", holds=(held, a_hold("b@acme.com")), guards=(guard,)))
    at = "2026-03-06T12:00:00Z"
    owners = {each.text: (each.age, each.owner) for each in waiting_holds(workspace, (), at)}
    approved = [each.owner for each in waiting_holds(workspace, {"ana"}, at)]

    assert owners["create b@acme.com (domain-not-allowed)"] == (
        "on hold since 2026-03-01 (5 days)",
        "an administrator of okta-main",
    )
    (guarded,) = [owner for text, (_, owner) in owners.items() if "max-deactivations" in text]
    assert guarded == "an approver, for max-deactivations"
    assert "approved by ana; another approver must approve max-deactivations" in approved


@pytest.mark.parametrize("output_format", sorted(set(ReportFormat) - {ReportFormat.XLSX}))
def test_names_are_shown_as_they_are_and_do_no_harm(output_format: ReportFormat) -> None:
    hostile = "<script>alert(1)</script>\x1b[31m@all"
    hold = WaitingHold("latam", hostile, "", "today", hostile)
    unread = (Unread("eu", hostile, hostile),)
    news = replace(news_of(Facts("plan", (), {}), None), holds=(hold,), unread=unread)
    content = PlanContent(plan_document([shown("latam")], "2026-03-01T12:00:00Z"))
    text = render_report(HEADING, news, content, output_format).decode()

    assert "\x1b" not in text
    assert output_format is ReportFormat.CSV or "alert(1)" in text
    if output_format in {ReportFormat.HTML, ReportFormat.MARKDOWN}:
        assert "<script>alert" not in text
    if output_format is ReportFormat.JSON:
        assert list(json.loads(text))[:3] == ["version", "report", "news"]


def test_long_reports_have_a_short_head() -> None:
    rows = [an_access(f"{number}@acme.com", "Planners") for number in range(500)]
    before = access_facts([an_access("a@acme.com")], (), None)
    news = news_of(access_facts(rows, (), before), before)
    text = summary(HEADING, news)

    assert len(text.splitlines()) < 40
    assert "and 480 more new" in text
    assert "500 new" in text
    for each in ReportFormat:
        assert render_report(HEADING, news, AccessContent(rows, "now"), each)
