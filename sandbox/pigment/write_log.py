"""The writes that a workspace received, in their order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

__all__ = ["Write", "WriteLog"]


@dataclass(frozen=True, slots=True)
class Write:
    """One write that reached the workspace. *applied*: it created or changed a member. *scim_id* is the member's,
    None where there was none. *body* is the JSON as it came, None when there was none or it was not JSON."""

    seq: int
    at: datetime
    method: str
    path: str
    body: object
    status: int
    applied: bool
    scim_id: str | None


class WriteLog:
    """Every write in its order, and how many requests of each method there were."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.request_counts: Counter[str] = Counter()

    def clear(self) -> None:
        self.writes.clear()
        self.request_counts.clear()

    def applied_writes(self) -> list[Write]:
        return [write for write in self.writes if write.applied]

    def patched_paths(self) -> set[str]:
        """Return the folded paths of all PATCH operations ever received, the keys of those without a path included."""
        return {path for write in self.writes if write.method == "PATCH" for path in _patch_paths(write.body)}


def _patch_paths(body: object) -> set[str]:
    """Return the paths of a PATCH, folded; a body that is not a PATCH has none."""
    folded = {str(key).casefold(): value for key, value in body.items()} if isinstance(body, dict) else {}
    operations = folded.get("operations")
    found: set[str] = set()
    for operation in operations if isinstance(operations, list) else []:
        given = {str(key).casefold(): value for key, value in operation.items()} if isinstance(operation, dict) else {}
        value = given.get("value")
        if given.get("path"):
            found.add(str(given["path"]).casefold())
        elif isinstance(value, dict):
            found |= {str(key).casefold() for key in value}
    return found
