"""Track which groups became empty, and since when: one short answer must not cost people their access."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from agent.model import GroupSighting, Link, UndoneChange
from connectors.base import Snapshot

__all__ = [
    "CONFIRMED_AFTER",
    "GroupSightings",
    "links_with_empty_groups",
    "newly_empty_groups",
    "next_sightings",
    "undone_with_empty_groups",
]

GroupSightings = Mapping[tuple[str, str], GroupSighting]
"""Groups by (connector, group id)."""

CONFIRMED_AFTER = timedelta(minutes=5)
"""A group is believed to be empty once two runs, so far apart, have read it so."""


def newly_empty_groups(snapshots: Sequence[Snapshot], sightings: GroupSightings, now: datetime) -> GroupSightings:
    """Return the groups that are empty for the first time, or have been so for less than `CONFIRMED_AFTER`.

    A group that an application is not assigned to any more counts as empty: that list can be short too. One that the
    config no longer counts, or of an application it no longer names, does not.
    """
    return {key: seen for key, seen in _empty_groups(snapshots, sightings).items() if not _is_confirmed(seen, now)}


def links_with_empty_groups(seen: Sequence[Link], links: Sequence[Link], emptied: GroupSightings) -> tuple[Link, ...]:
    """Return the links to remember, *seen*, with those groups of *links* that one read alone shows empty.

    A person who then leaves another group too must still be known as a member of the emptied one.
    """
    # Mostly nothing is emptied, and everyone has a link.
    known = {link.person: link.groups for link in links} if emptied else {}

    def kept(link: Link) -> Link:
        doubted = (group for group in known.get(link.person, ()) if (link.person.connector, group.id) in emptied)
        groups = tuple(sorted({*link.groups, *doubted}))
        return link if groups == link.groups else replace(link, groups=groups)

    return tuple(map(kept, seen))


def undone_with_empty_groups(
    still_undone: Sequence[UndoneChange], remembered: Sequence[UndoneChange], emptied: GroupSightings
) -> tuple[UndoneChange, ...]:
    """Return the undone changes to remember, with those that end only because one read shows a group empty."""
    kept = {(each.scim_id, each.kind): each for each in still_undone}
    for each in remembered:
        if each.person and any((each.person.connector, group) in emptied for group in each.groups):
            kept.setdefault((each.scim_id, each.kind), each)
    return tuple(kept[key] for key in sorted(kept))


def next_sightings(snapshots: Sequence[Snapshot], sightings: GroupSightings, now: datetime) -> GroupSightings:
    """Return what an enforcing run that read *snapshots* at *now* has to remember; nothing for what stays the same."""
    filled = {
        (snapshot.source.connector, group.id): GroupSighting(group.name, group.people, snapshot.source.app)
        for snapshot in snapshots
        for group in snapshot.groups
        if group.people
    }
    empty = {key: _with_empty_since(seen, now) for key, seen in _empty_groups(snapshots, sightings).items()}
    return {key: seen for key, seen in {**filled, **empty}.items() if sightings.get(key) != seen}


def _empty_groups(snapshots: Sequence[Snapshot], sightings: GroupSightings) -> GroupSightings:
    """Return the groups of *sightings* in which *snapshots* show no one."""
    sizes: dict[tuple[str, str], int] = {}
    for snapshot in snapshots:
        for group in snapshot.groups:
            key = snapshot.source.connector, group.id
            sizes[key] = max(group.people, sizes.get(key, 0))
    # Of a source that names its groups, a group that is missing was taken out of the config: else the read had failed.
    open_apps = {(each.source.connector, each.source.app) for each in snapshots if not each.source.groups}
    return {
        key: seen
        for key, seen in sightings.items()
        if (sizes[key] == 0 if key in sizes else (key[0], seen.app) in open_apps)
    }


def _with_empty_since(seen: GroupSighting, now: datetime) -> GroupSighting:
    # A time in the future was written before the clock was set back: it would hold leavers until then.
    is_known = seen.empty_since is not None and seen.empty_since <= now
    return seen if is_known else replace(seen, empty_since=now)


def _is_confirmed(seen: GroupSighting, now: datetime) -> bool:
    return seen.empty_since is not None and now - seen.empty_since >= CONFIRMED_AFTER
