"""What one online `check` found, by what it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from connectors.base import Finding, Source

__all__ = ["CheckResult"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The findings of each connector and workspace, and *shared* ones that are about neither."""

    shared: Sequence[Finding] = ()
    connectors: Mapping[str, Sequence[Finding]] = field(default_factory=dict)
    workspaces: Mapping[str, Sequence[Finding]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Finding]:
        yield from self.shared
        for findings in (*self.connectors.values(), *self.workspaces.values()):
            yield from findings

    def findings_of(self, workspace: str, sources: Sequence[Source]) -> list[Finding]:
        """Return what concerns *workspace*, which has *sources*: all but other workspaces, connectors and sources."""
        connectors = {source.connector for source in sources}
        return [
            *self.shared,
            *(
                finding
                for name, findings in self.connectors.items()
                if name in connectors
                for finding in findings
                if finding.source is None or finding.source in sources
            ),
            *self.workspaces.get(workspace, ()),
        ]
