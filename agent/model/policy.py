"""The policy of a workspace, as configured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from fnmatch import translate

from agent.model.codes import GuardCode, Kind
from agent.model.email import normalize
from agent.model.provenance import UNKNOWN_PROVENANCE, Provenance
from connectors.base import Source

__all__ = [
    "IndividualAction",
    "Limits",
    "Mode",
    "Policy",
    "Toggles",
    "UnmanagedAction",
    "protected_pattern",
]

# Pigment's own support address by-passes its domain restriction; its published page spells it both ways.
SUPPORT_EMAILS = ("support@pigment.com", "support@gopigment.com")


class Mode(StrEnum):
    DRY_RUN = "dry-run"
    ENFORCE = "enforce"


class UnmanagedAction(StrEnum):
    REPORT = "report"
    DEACTIVATE = "deactivate"


class IndividualAction(StrEnum):
    """What an individual assignment is taken for (design, row 16)."""

    HOLD = "hold"
    INCLUDE = "include"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of the guards that count changes (design section 6), by guard; None: no limit.

    *percents* are of active members that are linked or adopted, and only some guards have one.
    """

    counts: Mapping[GuardCode, int | None]
    percents: Mapping[GuardCode, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Toggles:
    """Which kinds may be applied at all: *create* rules create and reactivate, *update* names and emails."""

    create: bool = True
    update: bool = True
    deactivate: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """How to plan one workspace. *sources* stand in the order of the file, which decides between them.

    *allowed_domains* are normalized; empty allows all. *protect* are globs over whole addresses. *target* is the
    fingerprint of the workspace, *tenants* are those of its connectors by name; empty: not known, and not compared.
    *provenance* is what its runs are made with; nothing depends on it. *compares_names* is false only for a listing
    that shows no names, as an exported list may.
    """

    workspace: str
    sources: tuple[Source, ...]
    _: KW_ONLY
    limits: Limits
    allowed_domains: frozenset[str] = frozenset()
    mode: Mode = Mode.DRY_RUN
    protect: tuple[str, ...] = ()
    unmanaged: UnmanagedAction = UnmanagedAction.REPORT
    individual_assignments: IndividualAction = IndividualAction.HOLD
    grace_reads: int = 1
    require_approval: frozenset[Kind] = frozenset()
    toggles: Toggles = Toggles()
    target: str = ""
    tenants: tuple[tuple[str, str], ...] = ()
    provenance: Provenance = UNKNOWN_PROVENANCE
    compares_names: bool = True


def protected_pattern(globs: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of normalized addresses that get no change: *globs* and, always, Pigment's support."""
    return re.compile("|".join(translate(normalize(glob)) for glob in (*SUPPORT_EMAILS, *globs)))
