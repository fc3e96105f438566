"""Ids in the shape of each provider, from a seeded generator."""

from __future__ import annotations

import random
import string
from uuid import UUID

__all__ = ["new_id"]

OKTA_PREFIXES = {"person": "00u", "group": "00g", "app": "0oa"}
ONELOGIN_BASES = {"person": 100_000_000, "group": 500_000, "app": 2_000_000}
LETTERS = string.ascii_letters + string.digits


def new_id(directory: str, kind: str, chance: random.Random) -> str:
    """Return an id for a person, a group or an app (*kind*): `00u…`, a GUID, or digits."""
    if directory == "okta":
        return OKTA_PREFIXES[kind] + "".join(chance.choices(LETTERS, k=13)) + "5d7x"
    if directory == "entra":
        return str(UUID(int=chance.getrandbits(128), version=4))
    return str(ONELOGIN_BASES[kind] + chance.randrange(ONELOGIN_BASES[kind]))
