"""One pretend workspace: its members, tokens, domain restriction and options, and the SCIM requests on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from sandbox.pigment.errors import ScimError, invalid_value
from sandbox.pigment.member import Member
from sandbox.pigment.member_store import MemberStore
from sandbox.pigment.options import WorkspaceOptions
from sandbox.pigment.patch import ParsedPatch, parse_patch
from sandbox.pigment.token import DomainRestriction, Token, TokenStore
from sandbox.pigment.user_resource import UserResource, parse_user_resource
from sandbox.pigment.write_log import WriteLog

__all__ = ["PigmentWorkspace"]

DEFAULT_OPTIONS = WorkspaceOptions()
NO_RESTRICTION = DomainRestriction()


def _utc_now() -> datetime:
    return datetime.now(UTC)


class PigmentWorkspace:
    """A workspace. *name* is the first part of its SCIM URL: `/{name}/scim/v2`.

    `create`, `replace`, `patch` and `deactivate` serve requests; they raise `ScimError`. Methods that begin
    with `admin_` are changes by a Pigment administrator, and are not in the write log. Read everything at any time.
    """

    def __init__(
        self,
        name: str,
        tokens: Iterable[Token | str],
        options: WorkspaceOptions = DEFAULT_OPTIONS,
        restriction: DomainRestriction = NO_RESTRICTION,
        now: Callable[[], datetime] = _utc_now,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.tokens = TokenStore(tokens)
        self.options = options
        self.restriction = restriction
        self.now = now
        self.elapsed = elapsed
        self.member_store = MemberStore(name)
        self.write_log = WriteLog()

    @property
    def members(self) -> list[Member]:
        """All members, inactive ones too, in the order of their creation."""
        return self.member_store.all()

    def find_member(self, address: str) -> Member | None:
        return self.member_store.by_address(address)

    def visible_member(self, member: Member) -> Member | None:
        """Return the member as reads show it now, None when they do not show it yet."""
        return member.as_of(self.elapsed() - self.options.reads_lag) if self.options.reads_lag else member

    def require_member(self, member_id: str) -> Member:
        """Return the member with this id; raise `ScimError` 404 when it does not exist."""
        member = self.member_store.by_id(member_id)
        if member is None:
            raise ScimError(404, f"Resource {member_id} not found.")
        return member

    def create(self, body: object) -> Member:
        """Invite a member. The client's `id` and other unmapped attributes are dropped."""
        wanted = parse_user_resource(body)
        if self.restriction.on:
            self._require_allowed_domains(wanted.addresses)
        self._require_unused_address(wanted.user_name, None)
        if wanted.active is not False:
            self._require_seat()
        made = self.member_store.add(self._build_member(wanted))
        made.history = [(self.elapsed(), None)]
        return made

    def replace(self, member: Member, body: object) -> None:
        """Replace *member* by a PUT: the only way to change an email."""
        wanted = parse_user_resource(body)
        moves = member.user_name != wanted.user_name
        if moves and self.options.put_email == "400":
            raise invalid_value("userName can't be changed.")
        if moves and (self.restriction.on or self.options.email_checked):
            self._require_allowed_domains(wanted.addresses)
        self._require_unused_address(wanted.user_name, member)
        active = self._active_after_put(member, wanted)
        self._require_allowed(member, active=active)
        member.save_state(self.elapsed())
        if moves:
            self.member_store.change_address(member, wanted.user_name, self.now(), follows=self.options.ids == "email")
        self._update(member, wanted.display_name, active)
        if member.external_id != wanted.external_id:
            member.external_id = wanted.external_id
            member.mark_changed(self.now())
        if self.options.keeps_name_parts:
            member.given_name, member.family_name = wanted.given_name, wanted.family_name

    def patch(self, member: Member, body: object) -> tuple[str, ...]:
        """Apply a PATCH as far as it is supported; return the paths that were dropped."""
        if self.options.patch != "works":
            raise ScimError(int(self.options.patch), "PATCH is not supported.")
        parsed = parse_patch(body)
        moves_to = parsed.address if self.options.patch_email == "applied" else None
        if parsed.dropped and moves_to is None and self.options.patch_dropped == "400":
            raise ScimError(400, f"Not supported: {', '.join(parsed.dropped)}.", "invalidPath")
        if parsed.has_text_as_active and self.options.patch_active == "boolean":
            raise invalid_value("active must be true or false.")
        name = self._name_after_patch(member, parsed)
        active = member.active if parsed.active is None or self.options.patch_active == "lost" else parsed.active
        self._require_allowed(member, active=active)
        member.save_state(self.elapsed())
        if moves_to is not None:
            self._require_unused_address(moves_to, member)
            self.member_store.change_address(member, moves_to, self.now(), follows=self.options.ids == "email")
        self._update(member, name, active)
        return () if moves_to is not None else parsed.dropped

    def _name_after_patch(self, member: Member, parsed: ParsedPatch) -> str:
        is_ignored = self.options.patch_names == "lost" or (
            self.options.patch_names == "display only" and "displayname" not in parsed.values
        )
        return member.display_name if parsed.display_name is None or is_ignored else parsed.display_name

    def deactivate(self, member: Member) -> None:
        """What DELETE does: the member stays listed."""
        self._require_allowed(member, active=False)
        member.save_state(self.elapsed())
        self._update(member, member.display_name, active=False)

    def admin_create(self, email: str, display_name: str, *, active: bool = True) -> Member:
        self._require_unused_address(email, None)
        made = Member(self.member_store.new_id(self.options, email), email, display_name, self.now(), active)
        return self.member_store.add(made)

    def admin_rename(self, email: str, display_name: str) -> None:
        member = self._member_by_email(email)
        self._update(member, display_name, member.active)

    def admin_change_email(self, email: str, to: str) -> None:
        """Change a member's email."""
        member = self._member_by_email(email)
        self._require_unused_address(to, member)
        self.member_store.change_address(member, to, self.now())

    def admin_deactivate(self, email: str) -> None:
        self.deactivate(self._member_by_email(email))

    def admin_reactivate(self, email: str) -> None:
        member = self._member_by_email(email)
        self._update(member, member.display_name, active=True)

    def admin_remove(self, email: str) -> None:
        """Remove a member from the listing, which SCIM can't do."""
        self.member_store.remove(self._member_by_email(email))

    def _build_member(self, wanted: UserResource) -> Member:
        keeps = self.options.keeps_name_parts
        return Member(
            self.member_store.new_id(self.options, wanted.user_name),
            wanted.user_name,
            wanted.display_name,
            self.now(),
            active=wanted.active is not False,
            external_id=wanted.external_id,
            given_name=wanted.given_name if keeps else "",
            family_name=wanted.family_name if keeps else "",
        )

    def _update(self, member: Member, display_name: str, active: bool) -> None:
        if (member.display_name, member.active) != (display_name, active):
            member.display_name, member.active = display_name, active
            member.mark_changed(self.now())

    def _member_by_email(self, email: str) -> Member:
        member = self.member_store.by_address(email)
        if member is None:
            raise ScimError(404, f"{email} is not a member.")
        return member

    def _active_after_put(self, member: Member, wanted: UserResource) -> bool:
        if self.options.put_active == "lost":
            return False
        silent = {"keeps": member.active, "activates": True, "clears": False}[self.options.put_without_active]
        return silent if wanted.active is None else wanted.active

    def _require_allowed(self, member: Member, *, active: bool) -> None:
        """Refuse what Pigment may not allow for this one member."""
        if member.active and not active and member.user_name.lower() == self.options.last_admin.lower():
            raise ScimError(403, "The last security admin can't be deactivated.")
        if active and not member.active:
            self._require_seat()

    def _require_seat(self) -> None:
        if self.options.seats and sum(member.active for member in self.members) >= self.options.seats:
            raise ScimError(403, f"All {self.options.seats} seats of the workspace are taken.")

    def _require_unused_address(self, address: str, but_for: Member | None) -> None:
        holder = self.member_store.by_address(address)
        if holder is None or holder is but_for:
            return
        if self.options.same_address == "same case only" and holder.user_name != address:
            return
        is_typed = self.options.same_address != "409 without a type"
        raise ScimError(409, f"userName {address} is already taken.", "uniqueness" if is_typed else "")

    def _require_allowed_domains(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            if not self.restriction.is_allowed(address):
                detail = f"The domain {address.rpartition('@')[2]} is not allowed in this workspace."
                raise ScimError(403, detail) if self.options.domain_refusal == "403" else invalid_value(detail)
