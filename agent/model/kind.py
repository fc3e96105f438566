"""The kinds of changes."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Kind"]


class Kind(StrEnum):
    """What a change does, in the order in which changes are applied (design section 7)."""

    ADOPT = "adopt"
    DEACTIVATE = "deactivate"
    UPDATE_EMAIL = "update-email"
    REACTIVATE = "reactivate"
    UPDATE_NAME = "update-name"
    CREATE = "create"
