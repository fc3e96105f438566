"""People by group: the sizes before, groups that are gone, and the order."""

from __future__ import annotations

from dataclasses import replace

from agent.model import ShrunkGroup, SourceCounts
from agent.report.bars import MAX_GROUPS, group_bars
from agent.report.document import workspace_object
from agent.report.group_sizes import (
    Baselines,
    group_sizes,
    group_sizes_by_source,
    recorded_sizes,
    shrunk_groups,
)
from agent.report.schema import PlannedObject
from tests.golden.samples import a_plan

OKTA = SourceCounts(
    connector="okta-main",
    app="app-1",
    people=30,
    entitled=30,
    groups=(("g1", "Sales", 20), ("g2", "Board", 10)),
    individual=0,
)
SECOND = replace(OKTA, app="app-2", groups=(("g1", "Sales", 15),))


def planned(*sources: SourceCounts, before: Baselines) -> PlannedObject:
    plan = replace(a_plan(), sources=sources, shrunk_groups=shrunk_groups(sources, before))
    made = workspace_object(plan)
    assert made["status"] == "planned"
    return made


def test_groups_with_fewer_people_are_found_and_no_others() -> None:
    before = {
        ("okta-main", "g1"): ("Sales", 21),
        ("okta-main", "g2"): ("Board", 9),
        ("okta-main", "g3"): ("Andes", 45),
        ("okta-main", "g4"): ("Empty before", 0),
        ("entra-eu", "g5"): ("Of a source that is no longer configured", 8),
    }
    assert shrunk_groups([OKTA], before) == (
        ShrunkGroup(connector="okta-main", id="g1", name="Sales", before=21, people=20),
        ShrunkGroup(connector="okta-main", id="g3", name="Andes", before=45, people=0),
    )


def test_group_of_two_applications_is_compared_by_its_larger_size() -> None:
    assert shrunk_groups([OKTA, SECOND], {("okta-main", "g1"): ("Sales", 20)}) == ()


def test_group_that_is_gone_stands_once_with_the_first_source_of_its_connector() -> None:
    workspace = planned(OKTA, SECOND, before={("okta-main", "g3"): ("Andes", 45)})
    parts = group_sizes_by_source(workspace, recorded_sizes(workspace))
    assert [[(size.name, size.phrase) for size in part] for part in parts] == [
        [("Andes", "45 → 0"), ("Sales", "20"), ("Board", "10")],
        [("Sales", "15")],
    ]


def test_all_groups_are_listed_by_what_they_lost() -> None:
    workspace = planned(OKTA, before={("okta-main", "g2"): ("Board", 12), ("okta-main", "g3"): ("Andes", 4)})
    sizes = group_sizes(workspace, recorded_sizes(workspace))
    assert [(size.name, size.phrase) for size in sizes] == [
        ("Andes", "4 → 0"),
        ("Board", "12 → 10"),
        ("Sales", "20"),
    ]


def test_group_that_is_gone_is_among_the_bars_however_many_groups_are_larger() -> None:
    many = replace(OKTA, groups=tuple((f"g{each}", f"Group {each}", 500 + each) for each in range(40)))
    workspace = planned(many, before={("okta-main", "gone"): ("Andes", 2)})
    bars, more = group_bars(workspace)
    assert (bars[0].title, bars[0].phrase, bars[0].length) == ("Andes", "2 → 0", 0)
    assert (len(bars), more) == (MAX_GROUPS, 41 - MAX_GROUPS)


def test_document_of_a_release_without_sizes_has_none() -> None:
    workspace = planned(OKTA, before={})
    assert "shrunk_groups" not in workspace
    assert recorded_sizes(workspace) == {}
