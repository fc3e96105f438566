"""What a run was made with."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["UNKNOWN_PROVENANCE", "Provenance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The release and commit of the tool, and the SHA-256 of its configuration in hexadecimal; empty: not known."""

    version: str = ""
    commit: str = ""
    config_sha256: str = ""


UNKNOWN_PROVENANCE = Provenance()
