"""What each rendering promises beyond its golden file: limits, colours, marks, outcomes, and escaped names."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from agent.model import Mode, Note, Plan, Unplanned
from agent.model.run import Pause
from agent.plan_parser import parse_document
from agent.report.document import plan_digest, plan_document, shown_workspace, workspace_object
from agent.report.html import content_security_policy
from agent.report.render import Format, RenderOptions, render
from agent.report.run_identity import with_run
from agent.report.schema import Document, OutcomeRow
from tests.golden import samples
from tests.golden.samples import (
    MADE_AT,
    a_create,
    a_document,
    a_guard,
    a_guarded_leaver,
    a_leaver,
    a_plan,
    latam,
    outcomes,
)


def of(*plans: Plan | Unplanned) -> Document:
    return plan_document([workspace_object(plan) for plan in plans], MADE_AT)


def test_changes_that_are_made_where_they_are_read_look_as_those_of_a_whole_document() -> None:
    plan = latam()
    hostile = a_plan(
        "emea", changes=tuple(a_create(f"p{n}@acme.com", name, n) for n, name in enumerate(samples.HOSTILE * 30))
    )
    words = ("failed", "done", "odd", "held")
    failed = [OutcomeRow(number, "create", f"P{number}@acme.com", word) for number, word in enumerate(words)]
    shown = plan_document([shown_workspace(each, plan_digest(each)) for each in (plan, hostile)], MADE_AT)
    for form in Format:
        for verbose in (False, True):
            look = RenderOptions(verbose=verbose)
            for executed in ({}, {**outcomes(), "emea": failed}):
                assert render(shown, form, look, executed) == render(of(plan, hostile), form, look, executed)


class Tags(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


HOSTILE_PLANS = of(
    a_plan(
        changes=tuple(a_create(f"p{number}@acme.com", name, number) for number, name in enumerate(samples.HOSTILE)),
        holds=tuple(replace(samples.a_swap(), email=name, wanted=name, remedy=name) for name in samples.HOSTILE),
        notes=tuple(Note(name, name, name) for name in samples.HOSTILE),
        guards=(replace(a_guard(2), affected=samples.HOSTILE, message=samples.HOSTILE[0], limit=samples.HOSTILE[3]),),
    ),
    *(a_plan(name) for name in samples.HOSTILE),
    Unplanned(
        workspace="\x1b[2J<b>",
        mode=Mode.ENFORCE,
        status="incomplete",
        code="<i>",
        message="<script>x</script>\u202e",
        remedy="=1+1",
    ),
)
HOSTILE_DOCUMENT = plan_document(
    [
        with_run(
            each,
            replace(samples.a_past_run(), by=name, reason=name),
            [replace(samples.approvals()[0], by=name, reason=name, guards=(name,))],
        )
        for each, name in zip(HOSTILE_PLANS["workspaces"], itertools.cycle(samples.HOSTILE))
    ],
    MADE_AT,
)


@pytest.mark.parametrize("form", Format)
def test_hostile_names_cannot_move_a_cursor_or_reverse_a_line(form: Format) -> None:
    shown = render(HOSTILE_DOCUMENT, form, RenderOptions(verbose=True, max_chars=500_000))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)


def test_hostile_names_become_no_tag_of_a_page_and_no_template() -> None:
    shown = render(HOSTILE_DOCUMENT, Format.HTML)
    plain = Tags(render(of(a_plan(changes=(a_create(),))), Format.HTML))
    tags = Tags(shown)
    assert tags.tags.count("script") == plain.tags.count("script") == 1
    assert not [name for name, _ in tags.attributes if name.startswith("on") or name == "style"]
    places = {value for name, value in tags.attributes if name in ("href", "src")}
    assert all(place == "data:," or re.fullmatch("#workspace-[0-9]+(-[a-z]+)?", place or "") for place in places)
    assert {place for place in places if place != "data:,"} <= {
        f"#{value}" for name, value in tags.attributes if name == "id"
    }
    assert "{{ 7 * 7 }}" in shown


def test_hostile_names_become_no_tag_link_or_mention_of_markdown() -> None:
    shown = render(HOSTILE_DOCUMENT, Format.MARKDOWN, RenderOptions(max_chars=500_000))
    page = Tags(MarkdownIt("commonmark", {"html": True}).enable("table").render(shown))
    assert not {"script", "a", "img", "i"} & set(page.tags)
    prose = re.sub("`[^`\n]*`", "", shown)
    assert not re.search(r"(?<![\w.+-])@\w", prose)
    assert "http://" not in prose


def test_markdown_tables_keep_their_columns_whatever_a_name_holds() -> None:
    shown = render(HOSTILE_DOCUMENT, Format.MARKDOWN, RenderOptions(max_chars=500_000))
    for row in (line for line in shown.splitlines() if line.startswith("| ")):
        assert len(re.findall(r"(?<!\\)\|", row)) in (4, 5, 6, 10)


def test_cells_of_a_sheet_never_start_like_a_formula() -> None:
    rows = list(csv.reader(io.StringIO(render(HOSTILE_DOCUMENT, Format.CSV))))
    cells = [cell for row in rows[1:] for cell in row]
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))]
    assert '\'=HYPERLINK("http://evil.example.com","click")' in cells
    assert {len(row) for row in rows} == {len(rows[0])}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "\u00a0@", "＝"])
def test_every_start_of_a_formula_is_disarmed(start: str) -> None:
    shown = render(of(a_plan(notes=(Note("n", f"{start}1", "r"),))), Format.CSV)
    (row,) = [row for row in csv.DictReader(io.StringIO(shown)) if row["row"] == "note"]
    assert row["email"] == f"'{start}1"


def test_sheet_starts_with_a_byte_order_mark_only_when_asked() -> None:
    assert render(a_document(), Format.CSV, RenderOptions(bom=True)) == "\ufeff" + render(a_document(), Format.CSV)


def test_sheet_has_a_row_for_a_workspace_that_could_not_be_planned() -> None:
    rows = list(csv.DictReader(io.StringIO(render(a_document(), Format.CSV))))
    (row,) = [row for row in rows if row["workspace"] == "pigment-apac"]
    assert (row["row"], row["code"], row["remedy"]) == (
        "error",
        "credentials",
        "Renew the client secret of onelogin-apac.",
    )


def test_text_without_colour_has_no_escape_sequence_and_with_colour_the_same_words() -> None:
    plain = render(a_document(), Format.TEXT)
    coloured = render(a_document(), Format.TEXT, RenderOptions(colour=True))
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert coloured != plain


def test_text_keeps_to_its_width_but_for_digests_and_commands() -> None:
    for width in (40, 60, 80, 120):
        lines = render(a_document(), Format.TEXT, RenderOptions(width=width)).splitlines()
        assert [line for line in lines if len(line) > width and "sha256:" not in line] == []


def test_text_shows_two_hundred_rows_of_a_kind_and_counts_the_rest() -> None:
    plan = a_plan(changes=tuple(a_create(f"p{number}@acme.com", "P", number) for number in range(230)))
    short = render(of(plan), Format.TEXT)
    assert short.count("\n  + ") == 200
    assert "… and 30 more; all are in --format csv, html and json" in short
    assert render(of(plan), Format.TEXT, RenderOptions(verbose=True)).count("\n  + ") == 230


def test_text_folds_notes_by_code_and_shows_them_all_when_asked() -> None:
    assert "Notes (3): 2 unmanaged, 1 individual-assignment" in render(a_document(), Format.TEXT)
    assert "robot@acme.com is a member" not in render(a_document(), Format.TEXT)
    assert "robot@acme.com is a member" in render(a_document(), Format.TEXT, RenderOptions(verbose=True))


def test_markdown_of_many_changes_keeps_to_its_cap_and_counts_what_it_left_out() -> None:
    changes = tuple(a_create(f"p{number}@acme.com", "P", number) for number in range(2_000))
    shown = render(of(a_plan(changes=(*changes, a_leaver()))), Format.MARKDOWN)
    assert 55_000 < len(shown) <= 60_000
    assert "Bob Roe left the group" in shown
    left_out = int(re.findall(r"_([\d,]+) of 2,000 left out here", shown)[0].replace(",", ""))
    assert shown.count("| `p") == 2_000 - left_out


def test_markdown_of_many_workspaces_keeps_to_its_cap_and_counts_those_left_out() -> None:
    shown = render(
        of(*(a_plan(f"pigment-{number}") for number in range(300))), Format.MARKDOWN, RenderOptions(max_chars=20_000)
    )
    assert len(shown) <= 20_000
    missing = int(re.findall(r"_(\d+) workspaces are left out here", shown)[0])
    assert shown.count("\n## ") == 300 - missing
    in_table = int(re.findall(r"_(\d+) more workspaces\._", shown)[0])
    assert shown.count("\n| `pigment-") == 300 - in_table


def test_markdown_with_too_long_names_remarks_what_is_left_out() -> None:
    guards = tuple(replace(a_guard(10), message="x" * 1_900) for _ in range(40))
    shown = render(of(a_plan(guards=guards)), Format.MARKDOWN)
    assert "The rest is too long for here" in shown
    assert len(shown) <= 60_000


def test_plan_names_the_mode_of_its_workspace() -> None:
    assert "mode: enforce" in render(of(a_plan(changes=(a_create(),))), Format.TEXT)
    assert "mode: dry-run" in render(of(a_plan(changes=(a_create(),), mode=Mode.DRY_RUN)), Format.TEXT)


def test_headline_counts_holds_by_kind_with_the_most_frequent_first() -> None:
    holds = (samples.a_swap(), *(a_guarded_leaver(number) for number in range(2)))
    shown = render(of(a_plan(holds=holds)), Format.TEXT)
    assert shown.startswith("pigment-latam: 0 to apply; 3 on hold (2 deactivations, 1 email change); 398 in sync\n")


@pytest.mark.parametrize("form", [Format.TEXT, Format.MARKDOWN, Format.HTML])
def test_plan_with_something_to_approve_shows_the_command(form: Format) -> None:
    whole = of(a_plan(holds=(a_guarded_leaver(1),)))
    command = f"pigment-sync sync -w pigment-latam --approve {whole['workspaces'][0]['digest']}"
    assert command in render(whole, form)
    assert "--approve" not in render(of(a_plan(holds=(samples.a_swap(),))), form)


def test_reason_shared_by_all_holds_of_a_code_is_shown_once() -> None:
    whole = of(a_plan(holds=tuple(a_guarded_leaver(number) for number in range(3))))
    for form in (Format.TEXT, Format.HTML):
        shown = render(whole, form, RenderOptions(width=400))
        assert shown.count("More than 25 people would be deactivated.") == 1
        assert shown.count("Leaver 2 left the group Pigment LatAm and has no other assignment.") == 1
    single = of(a_plan(holds=(replace(a_guarded_leaver(1), reason="Another wording."),)))
    shown = render(single, Format.TEXT, RenderOptions(width=400))
    assert "Another wording." in shown
    assert "Leaver 1 left the group" in shown


@pytest.mark.parametrize("form", [Format.TEXT, Format.MARKDOWN, Format.HTML])
def test_command_quotes_a_workspace_name_for_the_shell(form: Format) -> None:
    shown = render(of(a_plan("a; rm -rf ~", holds=(a_guarded_leaver(1),))), form)
    assert re.search(r"-w ('|&#39;)a; rm -rf ~('|&#39;) --approve", shown)


def test_document_with_several_plans_to_approve_shows_the_command_for_all() -> None:
    plans = [a_plan(name, holds=(a_guarded_leaver(1),)) for name in ("one", "two")]
    whole = of(*plans)
    for form in (Format.TEXT, Format.HTML):
        assert f"pigment-sync sync --approve {whole['digest']}" in render(whole, form)
        assert f"pigment-sync sync --approve {of(plans[0])['digest']}" not in render(of(plans[0]), form)


def test_run_shows_the_outcome_of_each_change_and_of_what_was_approved() -> None:
    rows = list(csv.DictReader(io.StringIO(render(a_document(), Format.CSV, outcomes=outcomes()))))
    found = {(row["row"], row["email"]): (row["kind"], row["outcome"]) for row in rows}
    assert found["change", "bob.roe@acme.com"] == ("deactivate", "done")
    assert found["change", "joao@acme.com"] == ("update-name", "not-persisted")
    assert found["change", "leaver3@acme.com"] == ("deactivate", "done")
    assert ("hold", "leaver3@acme.com") not in found
    assert found["hold", "leaver4@acme.com"] == ("deactivate", "")
    assert found["also", "hostile1@acme.com"] == ("adopt", "done")


def test_headline_of_a_run_is_in_the_past_tense_and_counts_failures() -> None:
    shown = render(a_document(), Format.TEXT, RenderOptions(width=400), outcomes())
    assert shown.splitlines()[0] == (
        "pigment-latam: 10 created, 2 deactivated, 1 reactivated, 1 email changed, 2 matched; "
        "1 accepted but not made, 1 not tried; 28 on hold (26 deactivations, 1 create, 1 email change); 398 in sync"
    )
    assert "Nothing was written" not in shown
    assert "--approve" not in shown


def test_run_without_an_outcome_in_the_journal_shows_that() -> None:
    whole = of(a_plan(changes=(a_create(), a_leaver())))
    some = {"pigment-latam": [OutcomeRow(0, "create", "ANA.SOUZA@acme.com", "odd\x1b")]}
    assert render(whole, Format.TEXT, RenderOptions(width=400), some).startswith(
        "pigment-latam: 1 without a record, 1 odd\\x1b; 398 in sync\n"
    )
    assert "no record" in render(whole, Format.HTML, outcomes=some)
    assert "no record" in render(whole, Format.MARKDOWN, outcomes=some)


def test_headline_of_a_run_that_applied_nothing() -> None:
    shown = render(of(a_plan()), Format.TEXT, RenderOptions(width=400), {"pigment-latam": []})
    assert shown.startswith("pigment-latam: 0 applied; 398 in sync\n")


def test_json_of_a_run_has_its_outcomes_and_is_still_the_plan() -> None:
    shown = render(a_document(), Format.JSON, outcomes=outcomes())
    assert parse_document(shown.encode())["digest"] == a_document()["digest"]
    assert json.loads(shown)["outcomes"]["pigment-latam"][0] == {
        "seq": 0,
        "kind": "adopt",
        "email": "kim@acme.com",
        "outcome": "done",
        "detail": "",
    }


def test_json_of_a_run_survives_an_outcome_that_utf8_cannot_hold() -> None:
    some = {"pigment-latam": [OutcomeRow(0, "create", "half\ud83d", "failed")]}
    assert json.loads(render(a_document(), Format.JSON, outcomes=some))["outcomes"]["pigment-latam"]


def test_page_allows_its_own_style_and_script_and_nothing_else() -> None:
    shown = render(a_document(), Format.HTML)
    assert content_security_policy().startswith("default-src 'none'; style-src 'sha256-")
    assert f'content="{content_security_policy().replace(chr(39), "&#39;")}"' in shown
    assert not re.search(r"(?:src|href)=.?(?:https?:)?//", shown)


def test_page_shows_twelve_groups_and_counts_the_others() -> None:
    groups = tuple((f"g{number}", f"Group {number}", number) for number in range(15))
    plan = a_plan()
    shown = render(of(replace(plan, sources=(replace(plan.sources[0], groups=groups),))), Format.HTML)
    assert "and 3 more groups" in shown
    assert "Group 3<" in shown
    assert "Group 2<" not in shown


@pytest.mark.parametrize("form", Format)
def test_empty_document_renders(form: Format) -> None:
    assert render(of(), form).endswith("\n")


@pytest.mark.parametrize("form", Format)
def test_busy_and_incomplete_workspaces_show_error_and_remedy(form: Format) -> None:
    lost = Unplanned(
        workspace="w",
        mode=Mode.ENFORCE,
        status="incomplete",
        code="incomplete",
        message="Group G is gone.",
        remedy="Unassign it.",
    )
    busy = Unplanned(
        workspace="v", mode=Mode.ENFORCE, status="busy", code="busy", message="Run 7 holds it.", remedy="Wait for it."
    )
    shown = render(of(lost, busy), form)
    for words in ("Group G is gone.", "Unassign it.", "Run 7 holds it.", "Wait for it."):
        assert words in shown


@pytest.mark.parametrize("form", [Format.TEXT, Format.MARKDOWN, Format.HTML])
@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.DRY_RUN])
def test_workspace_that_nothing_is_written_to_is_not_shown_as_written_to(form: Format, mode: Mode) -> None:
    pause = Pause(datetime(2026, 3, 1, 12, tzinfo=UTC), "ops", "a mistake") if mode is Mode.ENFORCE else None
    plan = replace(a_plan(changes=(a_create(),), holds=(a_guarded_leaver(1),)), mode=mode)
    shown = render(plan_document([workspace_object(replace(plan, pause=pause))], MADE_AT), form)

    assert "mode: enforce" not in shown
    assert ("paused" if pause else "dry-run") in shown
    assert "--approve" not in shown
    assert ("resume it first" if pause else "set its mode to enforce") in " ".join(shown.split())


@pytest.mark.parametrize("form", [Format.TEXT, Format.MARKDOWN, Format.HTML])
def test_plan_for_one_person_is_shown_as_theirs_and_not_as_the_workspaces(form: Format) -> None:
    objects = [workspace_object(a_plan(changes=(a_create(),)))]
    shown, whole = (render(plan_document(objects, MADE_AT, user), form) for user in ("zoe@acme.com", ""))

    assert "only zoe@acme.com: 1 to create" in shown.replace("&#8203;", "")
    assert "only " not in whole
    assert re.search(r"1 to create; \d+ in sync", whole)
    assert not re.search(r"1 to create; \d+ in sync", shown)


def test_numbers_of_an_executed_run_are_those_of_before_it() -> None:
    shown = render(a_document(), Format.TEXT, outcomes=outcomes())

    assert "before the run: 420 members" in shown
    assert "writes when synced" not in shown


@pytest.mark.parametrize("form", Format)
def test_rendering_of_a_run_begins_with_the_run(form: Format) -> None:
    planned = workspace_object(a_plan(changes=(a_create(),)))
    ran = replace(samples.a_past_run(), reason="March reorganisation")
    shown = render(
        plan_document([with_run(planned, ran, samples.approvals())], MADE_AT), form, RenderOptions(width=200)
    )
    facts = [
        ran.id,
        "failed",
        "bob@acme.com",
        "sync",
        "March reorganisation",
        "2026-03-01T11:59:00Z",
        "2026-03-01T12:00:00Z",
        "ana@acme.com",
        "2026-03-01T11:30:00Z",
        "The team moved to EMEA.",
        "max-deactivations",
        "enforce",
        "0.1.0",
        "4711" * 10,
        "c0ff" * 16,
    ]
    assert [fact for fact in facts if fact not in shown] == []
    if form is not Format.JSON:
        # JSON has its keys in order.
        assert shown.index(ran.id) < shown.index("ana.souza@acme.com")


@pytest.mark.parametrize("form", [form for form in Format if form is not Format.JSON])
def test_run_of_an_earlier_release_has_values_that_are_not_recorded(form: Format) -> None:
    earlier = replace(samples.a_past_run(), provenance=None)
    shown = render(plan_document([with_run(workspace_object(a_plan()), earlier, ())], MADE_AT), form)
    assert shown.count("not recorded") == 2
    assert "bob@acme.com at 2026-03-01T11:59:00Z" in shown, "who gave the command that named the digest"


def test_runs_of_one_command_name_what_they_share_once() -> None:
    runs = [replace(samples.a_past_run(), id=f"20260301-115900-{number}") for number in range(3)]
    planned = [with_run(workspace_object(a_plan(run.id)), run, samples.approvals()) for run in runs]
    shown = render(plan_document(planned, MADE_AT), Format.TEXT)
    assert (shown.count("Configuration"), shown.count("Approved by"), shown.count("Status ")) == (1, 2, 3)


def test_sheet_names_the_run_and_who_approved_each_released_change() -> None:
    rows = list(csv.DictReader(io.StringIO(render(samples.a_run_document(), Format.CSV, outcomes=outcomes()))))
    latam = [row for row in rows if row["workspace"] == "pigment-latam"]
    assert {row["run"] for row in latam} == {"20260301-115900-3f9a1c"}
    assert (latam[0]["row"], latam[0]["outcome"], latam[0]["approved_by"]) == (
        "run",
        "failed",
        "ana@acme.com; bob@acme.com",
    )
    released = {row["email"]: row["approved_by"] for row in latam[1:] if row["approved_by"] and row["row"] == "change"}
    assert released == {"leaver3@acme.com": "ana@acme.com; bob@acme.com"}
    assert {row["run"] for row in rows if row["workspace"] == "pigment-apac"} == {""}


def test_change_is_not_approved_by_who_approved_another_guard() -> None:
    approved = replace(samples.approvals()[1], by="eve@acme.com", guards=("max-creates",))
    planned = with_run(workspace_object(latam()), samples.a_past_run(), [samples.approvals()[0], approved])
    shown = render(plan_document([planned], MADE_AT), Format.TEXT, RenderOptions(width=200), outcomes())
    assert "approved by ana@acme.com, done" in shown
