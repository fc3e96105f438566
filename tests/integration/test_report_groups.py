"""People by group in each format: a group that vanished, or is no longer assigned, is shown with what it had."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape

import pytest

from agent.engine.request import RunResult
from agent.model import ShrunkGroup
from agent.plan_parser import parse_workspace
from agent.report.document import encode_workspace, plan_document, workspace_digest, workspace_object
from agent.report.render import Format, RenderOptions, render
from tests.integration.test_emptied_groups import SALES, Scene, held

AT = "2026-03-01T12:00:00Z"


def rendered(result: RunResult, how: Format) -> str:
    document = plan_document([workspace_object(result.planned)], AT)
    text = render(document, how, RenderOptions(width=200))
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split()) if how is Format.HTML else text


async def vanish(scene: Scene) -> RunResult:
    """Take the group Sales away from the application, with its people, and plan."""
    del scene.directory.groups["sales"]
    for name in SALES:
        del scene.directory.people[name]
    return await scene.plan()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (Format.TEXT, "Sales 9 → 0, Everyone 20"),
        (Format.MARKDOWN, "Sales 9 → 0, Everyone 20"),
        (Format.HTML, "People by group Sales 9 → 0 Everyone 20"),
    ],
)
async def test_group_that_vanished_is_shown(how: Format, words: str) -> None:
    scene = await Scene().in_step()
    assert "Sales 9" in rendered(await scene.plan(), how), "before it vanished"
    assert words in rendered(await vanish(scene), how)


async def test_csv_has_a_row_for_each_group() -> None:
    scene = await Scene().in_step()
    shown = rendered(await vanish(scene), Format.CSV)
    rows = [row for row in csv.DictReader(io.StringIO(shown)) if row["row"] == "group"]
    assert [(row["connector"], row["code"], row["groups"], row["reason"]) for row in rows] == [
        ("entra-eu", "sales", "Sales", "9 → 0"),
        ("entra-eu", "everyone", "Everyone", "20"),
    ]


async def test_json_has_the_groups_that_shrank_outside_the_digest() -> None:
    scene = await Scene().in_step()
    result = await vanish(scene)
    (workspace,) = json.loads(rendered(result, Format.JSON))["workspaces"]
    assert workspace["shrunk_groups"] == [
        {"connector": "entra-eu", "id": "sales", "name": "Sales", "before": 9, "people": 0}
    ]
    planned = workspace_object(result.planned)
    assert parse_workspace(encode_workspace(planned)) == planned
    del workspace["shrunk_groups"]
    assert workspace_digest(workspace) == planned["digest"]


async def test_group_that_lost_some_people_shows_both_numbers_until_the_loss_is_a_day_old() -> None:
    scene = await Scene().in_step()
    del scene.directory.people["p7"]
    assert "Everyone 20 → 19" in rendered(await scene.run(1), Format.TEXT)
    assert "Everyone 20 → 19" in rendered(await scene.plan(60), Format.TEXT)
    assert "Everyone 19," in rendered(await scene.plan(60 * 24), Format.TEXT)


async def test_run_that_accepts_the_loss_still_shows_it_and_a_day_later_it_is_gone() -> None:
    scene = await Scene().in_step()
    await vanish(scene)
    assert "Sales 9 → 0" in rendered(await scene.run(1), Format.TEXT)
    assert scene.inactive() == SALES
    assert "Sales" not in rendered(await scene.plan(60 * 25), Format.TEXT)


async def test_first_plan_knows_no_sizes_before() -> None:
    (workspace,) = json.loads(rendered(await Scene().plan(), Format.JSON))["workspaces"]
    assert "shrunk_groups" not in workspace


async def test_group_that_reads_empty_is_shown_once() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good = {"sales"}
    result = await scene.plan()
    assert held(result) == SALES
    assert rendered(result, Format.TEXT).count("Sales 9 → 0") == 1
    assert [each for each in result.planned.shrunk_groups if each.name == "Sales"] == [  # type: ignore[union-attr]  # it was planned
        ShrunkGroup(connector="entra-eu", id="sales", name="Sales", before=9, people=0)
    ]
