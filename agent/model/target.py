"""What a key of a file stands for, as the state knows it: fingerprints, and what a run found when it compared them."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime

__all__ = ["TARGET_UNCHANGED", "KnownTarget", "MovedTenant", "TargetCheck"]


@dataclass(frozen=True, slots=True)
class KnownTarget:
    """The fingerprint that the state knows a workspace's key by, or with *connector* one of its connectors.

    Two keys may have had one fingerprint: it belongs to the one for which it was *recorded_at* last.
    """

    workspace: str
    connector: str
    fingerprint: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class MovedTenant:
    """A connector that reads another tenant or base URL than when its people were last accepted."""

    connector: str
    previous: str
    current: str


@dataclass(frozen=True, slots=True)
class TargetCheck:
    """What was found when the targets of a file were compared with those of the state, and the links with the listing.

    *mismatch* is a sentence: the key stands for another workspace, and *remedy* names the command that settles it; both
    are empty when it does not. *fingerprint* is the fingerprint of the file. *missing* of *linked* members are not in
    the listing. *moved_tenants* are connectors that read something else now. *accepted_targets* are (connector,
    fingerprint) to record, *pending_targets* those to record once an approval released what is held because of them;
    the connector of the workspace itself is empty.
    """

    mismatch: str = ""
    remedy: str = ""
    _: KW_ONLY
    fingerprint: str = ""
    linked: int = 0
    missing: int = 0
    moved_tenants: tuple[MovedTenant, ...] = ()
    accepted_targets: tuple[tuple[str, str], ...] = ()
    pending_targets: tuple[tuple[str, str], ...] = ()

    @property
    def is_mostly_missing(self) -> bool:
        """Return whether more than half of the linked members, of four at least, are not in the listing."""
        return self.linked >= 4 and self.missing * 2 > self.linked

    @property
    def holds_everything(self) -> bool:
        return bool(self.mismatch) or self.is_mostly_missing

    @property
    def after_approval(self) -> TargetCheck:
        """Return the same after an approval: what only a command settles stays."""
        if self.mismatch:
            return self
        return replace(
            self,
            missing=0,
            moved_tenants=(),
            accepted_targets=self.accepted_targets + self.pending_targets,
            pending_targets=(),
        )


TARGET_UNCHANGED = TargetCheck()
