"""The people of each group of a plan's sources, with the size before where a group has fewer: "45 → 0"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.model import ShrunkGroup, SourceCounts
from agent.report.escape import escape_control
from agent.report.schema import PlannedObject

__all__ = ["Baselines", "GroupSize", "group_sizes", "group_sizes_by_source", "recorded_sizes", "shrunk_groups"]

Baselines = Mapping[tuple[str, str], tuple[str, int]]
"""(connector, group id) to the name of the group and its size before."""


@dataclass(frozen=True, slots=True)
class GroupSize:
    """The people of a group at a source: *before* (None: not known) and *now*."""

    connector: str
    id: str
    name: str
    before: int | None
    now: int

    @property
    def has_shrunk(self) -> bool:
        return self.before is not None and self.before > self.now

    @property
    def is_gone(self) -> bool:
        """Whether it had people, and has none now."""
        return self.has_shrunk and not self.now

    @property
    def phrase(self) -> str:
        """The number of people now; "45 → 0" if the group has fewer than before."""
        return f"{self.before:,} → {self.now:,}" if self.before is not None and self.has_shrunk else f"{self.now:,}"

    @property
    def safe_name(self) -> str:
        return escape_control(self.name)


def shrunk_groups(sources: Sequence[SourceCounts], baselines: Baselines) -> tuple[ShrunkGroup, ...]:
    """Return the groups of *baselines* that have fewer people in *sources*, also those that are gone, by key."""
    people: dict[tuple[str, str], int] = {}
    for source in sources:
        for group_id, _, size in source.groups:
            people[source.connector, group_id] = max(size, people.get((source.connector, group_id), 0))
    connectors = {source.connector for source in sources}
    return tuple(
        ShrunkGroup(connector=key[0], id=key[1], name=name, before=before, people=people.get(key, 0))
        for key, (name, before) in sorted(baselines.items())
        if key[0] in connectors and before > people.get(key, 0)
    )


def recorded_sizes(workspace: PlannedObject) -> Baselines:
    """Return the sizes before of the groups that had shrunk when the plan was made."""
    return {
        (group["connector"], group["id"]): (group["name"], group["before"])
        for group in workspace.get("shrunk_groups", ())
    }


def group_sizes(workspace: PlannedObject, baselines: Baselines) -> list[GroupSize]:
    """Return every group of the plan's sources, and those of *baselines* that are gone, what shrank most first."""
    sizes = [size for part in group_sizes_by_source(workspace, baselines) for size in part]
    unique = {(size.connector, size.id): size for size in sizes}.values()
    return sorted(unique, key=lambda each: (-((each.before or 0) - each.now) if each.has_shrunk else 0, each.name))


def group_sizes_by_source(workspace: PlannedObject, baselines: Baselines) -> list[list[GroupSize]]:
    """Return the groups of each source in their order, after those that are gone.

    A group that is gone stands with the first source of its connector: which application it was of is not recorded.
    """
    found = {(source["connector"], group["id"]) for source in workspace["sources"] for group in source["groups"]}
    gone = {key: value for key, value in baselines.items() if key not in found and value[1]}
    parts: list[list[GroupSize]] = []
    for source in workspace["sources"]:
        connector = source["connector"]
        own = [key for key in gone if key[0] == connector]
        sizes = [GroupSize(connector, key[1], *gone.pop(key), 0) for key in own]
        for group in source["groups"]:
            _, before = baselines.get((connector, group["id"]), ("", None))
            sizes.append(GroupSize(connector, group["id"], group["name"], before, group["people"]))
        parts.append(sizes)
    return parts
