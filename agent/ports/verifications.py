"""The results of `check`, `probe` and `compare`, per workspace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent.model.verification import Verification, VerificationKind

__all__ = ["KEPT_VERIFICATIONS", "Verifications"]

KEPT_VERIFICATIONS = 20
"""How many are kept of each workspace and kind."""


class Verifications(Protocol):
    """Raises `agent.errors.StateError`."""

    async def record_verification(self, verification: Verification) -> None:
        """Write *verification*, in place of the one of its workspace and kind that started at the same moment.

        The oldest beyond `KEPT_VERIFICATIONS` are deleted.
        """
        ...

    async def load_verifications(
        self, workspace: str, kind: VerificationKind | None = None
    ) -> tuple[Verification, ...]:
        """Return those of *workspace*, newest first: of one *kind*, or of all."""
        ...

    async def load_all_verifications(
        self, workspaces: Sequence[str], kind: VerificationKind
    ) -> tuple[Verification, ...]:
        """Return those of all of *workspaces* of one *kind*, newest first."""
        ...
