"""A plan file that was truncated, edited or made by another program is refused with the reason."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from agent.errors import ExitCode, UsageError
from agent.plan_parser import parse_document, parse_workspace
from agent.report.document import document_digest, encode_document, encode_workspace, workspace_digest
from tests.golden.samples import a_document

Loose = dict[str, Any]


def refusal(raw: bytes) -> str:
    with pytest.raises(UsageError) as refused:
        parse_document(raw, "plan.json")
    assert refused.value.exit_code is ExitCode.USAGE
    assert "pigment-sync plan --out FILE" in refused.value.hint
    return refused.value.message


def edited(edit: Callable[[Loose], object], *, sealed: bool = False) -> bytes:
    """Return the sample with *edit* done to it; *sealed*: with digests that match the edited content."""
    whole = copy.deepcopy(json.loads(encode_document(a_document())))
    edit(whole)
    if sealed:
        for workspace in whole["workspaces"]:
            workspace["digest"] = workspace_digest(workspace)
        whole["digest"] = document_digest(whole["workspaces"])
    return json.dumps(whole).encode()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "plan.json is empty."),
        (b" \n", "plan.json is empty."),
        (b"PK\x03\x04", "plan.json is not JSON (line 1, column 1)."),
        (b'{"a":\n x}', "plan.json is not JSON (line 2, column 2)."),
        ('{"version": 1}'.encode("utf-16"), "plan.json is not UTF-8 text (byte 0)."),
        (b"[]", "plan.json is JSON, but not a plan: it has no `version`."),
        (b"{}", "plan.json is JSON, but not a plan: it has no `version`."),
        (b'{"version": 2}', "plan.json is of version 2; this pigment-sync reads version 1."),
        (b'{"version": true}', "plan.json is of version True; this pigment-sync reads version 1."),
        (b'{"version": 1}', "plan.json is not a plan as this version writes it: generated_at is missing."),
    ],
)
def test_what_is_not_a_plan_is_refused_with_its_reason(raw: bytes, expected: str) -> None:
    assert refusal(raw) == expected


def test_truncated_plan_is_refused_as_truncated_wherever_it_was_cut() -> None:
    raw = encode_document(a_document())
    in_a_letter = raw.index("João".encode()) + 3
    for end in (*range(1, len(raw) - 2, 997), in_a_letter):
        assert refusal(raw[:end]) == f"plan.json is truncated: it ends in the middle, after {end:,} bytes."


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda d: d.update(workspaces=None), "workspaces must be a list"),
        (lambda d: d["workspaces"].append(7), "workspaces[3] must be an object"),
        (lambda d: d["workspaces"][0].pop("counts"), "workspaces[0].counts is missing"),
        (lambda d: d["workspaces"][0]["counts"].update(create="1"), "workspaces[0].counts.create must be a whole"),
        (lambda d: d["workspaces"][0]["counts"].update(create=-1), "workspaces[0].counts.create must be a whole"),
        (lambda d: d["workspaces"][0].update(counts=[]), "workspaces[0].counts must be an object"),
        (lambda d: d["workspaces"][0].update(mode="enforced"), "workspaces[0].mode must be one of dry-run, enforce"),
        (lambda d: d["workspaces"][0]["changes"][2].update(email=7), "workspaces[0].changes[2].email must be text"),
        (lambda d: d["workspaces"][0]["changes"][0].update(kind="drop"), "workspaces[0].changes[0].kind must be one"),
        (lambda d: d["workspaces"][0]["changes"][0].update(person=[]), "workspaces[0].changes[0].person must be an"),
        (lambda d: d["workspaces"][0]["changes"][0].update(groups=[None]), "changes[0].groups[0] must be text"),
        (lambda d: d["workspaces"][0]["changes"][1]["after"].update(active=1), "after.active must be true or false"),
        (lambda d: d["workspaces"][2].pop("status"), "workspaces[2].status is missing"),
        (lambda d: d["workspaces"][0]["counts"].update({"\x1b[31m": "1"}), "workspaces[0].counts.\\x1b[31m must be"),
        (lambda d: d["workspaces"][0]["members"].update(total=1.5), "workspaces[0].members.total must be a whole"),
        (lambda d: d["workspaces"][2].pop("error"), "workspaces[2].error is missing"),
        (lambda d: d["workspaces"][2].update(status="lost"), "workspaces[2].status must be one of planned, incomplete"),
    ],
)
def test_wrong_shape_is_refused_with_its_path(edit: Callable[[Loose], object], expected: str) -> None:
    message = refusal(edited(edit))
    assert message.startswith("plan.json is not a plan as this version writes it: ")
    assert expected in message


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d["workspaces"][0]["changes"].pop(),
        lambda d: d["workspaces"][0]["changes"][0].update(email="boss@acme.com"),
        lambda d: d["workspaces"][0]["changes"][0].update(extra="x"),
        lambda d: d["workspaces"][0]["holds"][0].update(remedy="None needed."),
        lambda d: d["workspaces"][0].update(digest="sha256:0"),
        lambda d: d["workspaces"][0]["sources"][0].update(people=1),
    ],
)
def test_edited_plan_is_refused_and_the_workspace_named(edit: Callable[[Loose], object]) -> None:
    assert refusal(edited(edit)) == "plan.json was edited: workspace pigment-latam does not match its digest."


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d["workspaces"].pop(),
        lambda d: d["workspaces"].reverse(),
        lambda d: d.update(digest="sha256:0"),
    ],
)
def test_plan_with_workspaces_taken_out_or_moved_is_refused(edit: Callable[[Loose], object]) -> None:
    assert refusal(edited(edit)).startswith("plan.json was edited: its digest does not match its workspaces")


def test_workspace_that_is_there_twice_is_refused() -> None:
    twice = edited(lambda d: d["workspaces"].append(d["workspaces"][0]), sealed=True)
    assert refusal(twice) == "plan.json was edited: workspace pigment-latam is in it twice."


def test_counts_that_are_not_those_of_the_lists_are_refused_even_with_a_matching_digest() -> None:
    wrong_counts = edited(lambda d: d["workspaces"][0]["counts"].update(deactivate=0), sealed=True)
    assert "the counts of workspace pigment-latam are not those of its lists" in refusal(wrong_counts)


def test_refusal_escapes_hostile_names() -> None:
    def rename(whole: Loose) -> None:
        whole["workspaces"][0]["name"] = "\x1b[31mred"

    assert "workspace \\x1b[31mred does not match" in refusal(edited(rename))


def test_plan_saved_by_an_editor_with_a_byte_order_mark_is_read() -> None:
    assert parse_document(b"\xef\xbb\xbf" + encode_document(a_document())) == a_document()


def test_plan_laid_out_by_another_program_is_the_same_plan() -> None:
    assert parse_document(edited(dict)) == a_document()


def test_recorded_workspace_that_was_altered_is_refused() -> None:
    raw = encode_workspace(a_document()["workspaces"][0]).replace(b"Bob Roe left", b"Rob Boe left")
    with pytest.raises(UsageError, match="The recorded plan was edited: workspace pigment-latam"):
        parse_workspace(raw)
    with pytest.raises(UsageError, match="must be an object"):
        parse_workspace(b"[]")
