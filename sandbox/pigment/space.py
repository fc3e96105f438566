"""One pretend workspace: its members, tokens, domain restriction and switches, and what SCIM requests do to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from sandbox.pigment.journal import Journal
from sandbox.pigment.member import Member
from sandbox.pigment.patch import patch
from sandbox.pigment.refusal import Refusal, bad_value
from sandbox.pigment.roster import Roster
from sandbox.pigment.switch import Switches
from sandbox.pigment.token import Restriction, Token, Tokens
from sandbox.pigment.wish import Wish, wish

__all__ = ["PigmentSpace"]

AS_ASSUMED = Switches()
OPEN = Restriction()


def _utc_now() -> datetime:
    return datetime.now(UTC)


class PigmentSpace:
    """A workspace. *name* is the first part of its SCIM URL: `/{name}/scim/v2`.

    `create`, `replace`, `patch` and `deactivate` are what requests do; they raise `Refusal`. Methods that begin with
    `by_hand` are what a Pigment administrator does, and are in no journal. Everything may be looked at at any time.
    """

    def __init__(
        self,
        name: str,
        tokens: Iterable[Token | str],
        switches: Switches = AS_ASSUMED,
        restriction: Restriction = OPEN,
        now: Callable[[], datetime] = _utc_now,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.tokens = Tokens(tokens)
        self.switches = switches
        self.restriction = restriction
        self.now = now
        self.elapsed = elapsed
        self.roster = Roster(name)
        self.journal = Journal()

    @property
    def members(self) -> list[Member]:
        """All members, inactive ones too, in the order in which they came."""
        return self.roster.all()

    def member(self, address: str) -> Member | None:
        return self.roster.by_address(address)

    def shown(self, member: Member) -> Member | None:
        """Return the member as reads show it now, None when they do not show it yet."""
        return member.as_of(self.elapsed() - self.switches.reads_lag) if self.switches.reads_lag else member

    def known(self, member_id: str) -> Member:
        """Return the member with this id; `Refusal` 404 when there is none."""
        member = self.roster.by_id(member_id)
        if member is None:
            raise Refusal(404, f"Resource {member_id} not found.")
        return member

    def create(self, body: object) -> Member:
        """Invite a member. A client's `id` and whatever else is not mapped vanishes."""
        wanted = wish(body)
        if self.restriction.on:
            self._let_in(wanted.addresses)
        self._must_be_free(wanted.user_name, None)
        if wanted.active is not False:
            self._must_have_a_seat()
        made = self.roster.add(self._made(wanted))
        made.past = [(self.elapsed(), None)]
        return made

    def replace(self, member: Member, body: object) -> None:
        """Make *member* what a PUT says: the only way to change an email."""
        wanted = wish(body)
        moves = member.user_name != wanted.user_name
        if moves and (self.restriction.on or self.switches.email_checked):
            self._let_in(wanted.addresses)
        self._must_be_free(wanted.user_name, member)
        active = self._active_after_put(member, wanted)
        self._must_be_allowed(member, active=active)
        member.remember(self.elapsed())
        if moves:
            self.roster.move(member, wanted.user_name, self.now(), follows=self.switches.ids == "email")
        self._set(member, wanted.display_name, active)
        if self.switches.keeps_name_parts:
            member.given_name, member.family_name = wanted.given_name, wanted.family_name

    def patch(self, member: Member, body: object) -> tuple[str, ...]:
        """Do what a PATCH says as far as it is supported; return the paths that were dropped."""
        asked = patch(body)
        if asked.dropped and self.switches.patch_dropped == "400":
            raise Refusal(400, f"Not supported: {', '.join(asked.dropped)}.", "invalidPath")
        name = member.display_name if asked.display_name is None else asked.display_name
        active = member.active if asked.active is None else asked.active
        self._must_be_allowed(member, active=active)
        member.remember(self.elapsed())
        self._set(member, name, active)
        return asked.dropped

    def deactivate(self, member: Member) -> None:
        """What DELETE does: the member stays listed."""
        self._must_be_allowed(member, active=False)
        member.remember(self.elapsed())
        self._set(member, member.display_name, active=False)

    def by_hand_create(self, email: str, display_name: str, *, active: bool = True) -> Member:
        self._must_be_free(email, None)
        made = Member(self.roster.new_id(self.switches, email), email, display_name, self.now(), active)
        return self.roster.add(made)

    def by_hand_rename(self, email: str, display_name: str) -> None:
        member = self._by_hand(email)
        self._set(member, display_name, member.active)

    def by_hand_move(self, email: str, to: str) -> None:
        """Change a member's email."""
        member = self._by_hand(email)
        self._must_be_free(to, member)
        self.roster.move(member, to, self.now())

    def by_hand_deactivate(self, email: str) -> None:
        self.deactivate(self._by_hand(email))

    def by_hand_reactivate(self, email: str) -> None:
        member = self._by_hand(email)
        self._set(member, member.display_name, active=True)

    def by_hand_remove(self, email: str) -> None:
        """Take a member off the listing, which nobody can do over SCIM."""
        self.roster.remove(self._by_hand(email))

    def _made(self, wanted: Wish) -> Member:
        keeps = self.switches.keeps_name_parts
        return Member(
            self.roster.new_id(self.switches, wanted.user_name),
            wanted.user_name,
            wanted.display_name,
            self.now(),
            active=wanted.active is not False,
            given_name=wanted.given_name if keeps else "",
            family_name=wanted.family_name if keeps else "",
        )

    def _set(self, member: Member, display_name: str, active: bool) -> None:
        if (member.display_name, member.active) != (display_name, active):
            member.display_name, member.active = display_name, active
            member.changed(self.now())

    def _by_hand(self, email: str) -> Member:
        member = self.roster.by_address(email)
        if member is None:
            raise Refusal(404, f"{email} is not a member.")
        return member

    def _active_after_put(self, member: Member, wanted: Wish) -> bool:
        if self.switches.put_active == "lost":
            return False
        silent = True if self.switches.put_without_active == "activates" else member.active
        return silent if wanted.active is None else wanted.active

    def _must_be_allowed(self, member: Member, *, active: bool) -> None:
        """Refuse what Pigment might not allow for this one member."""
        if member.active and not active and member.user_name.lower() == self.switches.last_admin.lower():
            raise Refusal(403, "The last security admin can't be deactivated.")
        if active and not member.active:
            self._must_have_a_seat()

    def _must_have_a_seat(self) -> None:
        if self.switches.seats and sum(member.active for member in self.members) >= self.switches.seats:
            raise Refusal(403, f"All {self.switches.seats} seats of the workspace are taken.")

    def _must_be_free(self, address: str, but_for: Member | None) -> None:
        holder = self.roster.by_address(address)
        if holder is not None and holder is not but_for:
            raise Refusal(409, f"userName {address} is already taken.", "uniqueness")

    def _let_in(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            if not self.restriction.allows(address):
                raise bad_value(f"The domain {address.rpartition('@')[2]} is not allowed in this workspace.")
