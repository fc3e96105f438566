"""The members of one workspace, in the order of their creation, found by id or by address."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from sandbox.pigment.member import Member
from sandbox.pigment.options import WorkspaceOptions

__all__ = ["MemberStore"]


class MemberStore:
    """Holds members; an address belongs to at most one of them, whatever its case, active or not."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self._members: dict[str, Member] = {}
        self._by_address: dict[str, Member] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.all())

    def newest(self) -> Member:
        return next(reversed(self._members.values()))

    def all(self) -> list[Member]:
        return list(self._members.values())

    def by_id(self, member_id: str) -> Member | None:
        return self._members.get(member_id)

    def by_address(self, address: str) -> Member | None:
        return self._by_address.get(address.lower())

    def new_id(self, options: WorkspaceOptions, address: str) -> str:
        """Return an id that is the same in each sandbox after the same changes."""
        self._count += 1
        if options.ids == "email":
            return address
        if options.ids == "awkward":
            return f"é {self._count}/a+b%2Fc?d#e'"
        return str(uuid5(NAMESPACE_URL, f"pigment/{self._name}/{self._count}"))

    def add(self, member: Member) -> Member:
        self._members[member.id] = member
        self._by_address[member.user_name.lower()] = member
        return member

    def change_address(self, member: Member, address: str, now: datetime, *, follows: bool = False) -> None:
        """Give *member* another address, which no other member has; *follows*: its id becomes the address."""
        self._free_address(member)
        member.user_name = address
        if follows:
            # In its old place, so that pages keep their order.
            members = [(address if each is member else key, each) for key, each in self._members.items()]
            self._members = dict(members)
            member.id = address
        self._by_address[address.lower()] = member
        member.mark_changed(now)

    def remove(self, member: Member) -> None:
        del self._members[member.id]
        self._free_address(member)

    def _free_address(self, member: Member) -> None:
        """Forget that *member* has its address; another one may have it too, written in another case."""
        address = member.user_name.lower()
        del self._by_address[address]
        for other in self._members.values():
            if other is not member and other.user_name.lower() == address:
                self._by_address[address] = other
