"""A dated result of `check`, `probe` or `compare` for one workspace, kept in the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = ["Verification", "VerificationKind", "VerificationResult"]


class VerificationKind(StrEnum):
    """The command that made it."""

    CHECK = "check"
    PROBE = "probe"
    COMPARE = "compare"


class VerificationResult(StrEnum):
    """How it ended."""

    PASSED = "passed"
    """Everything is as assumed, or equal. A check with warnings passes."""
    DIFFERS = "differs"
    FAILED = "failed"
    """It could not be completed, or a check found an error."""
    RUNNING = "running"
    """It has not ended, or its process was killed: only a probe is recorded before its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One result. *started_at* identifies it within its workspace and kind.

    *subject* is what it was made with: a comparison's other reader, a probe's canary; empty for a check. *document* is
    the JSON document that the command prints with `--format json`, or the part that concerns this workspace.
    """

    workspace: str
    kind: VerificationKind
    started_at: datetime
    result: VerificationResult
    subject: str = ""
    by: str = ""
    version: str = ""
    document: Mapping[str, object] = field(default_factory=dict)
