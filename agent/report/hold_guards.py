"""Which guards hold each change of a plan document, and so what an approval is about."""

from __future__ import annotations

from agent.report.schema import WorkspaceObject

__all__ = ["hold_guards"]


def hold_guards(workspace: WorkspaceObject) -> list[frozenset[str]]:
    """Return for each hold which guards an approval must name to release it; empty: no approval releases it."""
    found: list[set[str]] = [set() for _ in workspace["holds"]]
    for guard in workspace["guards"] if workspace["status"] == "planned" else ():
        for index in guard.get("holds", ()):
            if index < len(found):
                found[index].add(guard["code"])
    # A document of an earlier release does not list them.
    return [
        frozenset(codes or {hold["code"]}) if "after" in hold else frozenset()
        for hold, codes in zip(workspace["holds"], found, strict=True)
    ]
