"""How a workspace's server was seen to differ from what is assumed, where that changes what a run sends."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AS_ASSUMED", "ServerFacts"]


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a probe concluded of a server. The default is as assumed.

    *patches_names* and *patches_active*: a PATCH changes them; else each takes a full PUT at once. *filters*: a lookup
    by `userName` finds a member in any case; else a lookup lists all members.
    """

    patches_names: bool = True
    patches_active: bool = True
    filters: bool = True


AS_ASSUMED = ServerFacts()
