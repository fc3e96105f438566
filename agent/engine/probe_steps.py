"""What a probe tries on its canary, in order, and what each answer shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from agent.engine.probe_session import ProbeSession
from agent.errors import WriteLost
from agent.model import Fields, Member
from agent.model.email import normalize
from agent.model.probe import CANARY_GIVEN_NAME, EXPECTED_FACTS, Fact, FactVerdict
from agent.ports.probe import PatchOperation, ProbeAnswer, ProbePage

__all__ = ["ProbeSteps"]

OK, BAD_REQUEST, CONFLICT = 200, 400, 409
LAG_DELAYS_SECONDS = (0.0, 0.25, 0.5, 1.0, 1.25, 2.0)
"""Seconds between the reads after a write: 5 in all, as long as a run waits."""

LAG_SECONDS = sum(LAG_DELAYS_SECONDS)
PAGE_SIZE = 100
WORK_EMAIL = 'emails[type eq "work"].value'
ANOTHER_MEMBER = "with another member"
BY_EARLIER_PROBE = ": created by an earlier probe"
UNKNOWN_ADDRESS = "pigment-sync-nobody@example.invalid"
Predicate = Callable[[Member], bool]


@dataclass(slots=True)
class ProbeSteps:
    """The steps of one probe. *carried* are facts of an earlier probe that only a create shows."""

    session: ProbeSession
    carried: Mapping[str, Fact]
    member: Member | None = None
    resource: Mapping[str, object] = field(default_factory=dict)
    put_without_active: list[tuple[bool, bool | None] | str] = field(default_factory=list)

    async def run(self, canary: Member | None) -> None:
        """Try everything. *canary* is the member of an earlier probe, None where it must be created.

        Raises `ReadError` and `PigmentSyncError`.
        """
        if canary is None:
            await self._create()
        else:
            await self._bring_back(canary)
        if self.member is None:
            return
        await self._see_member()
        await self._see_filters()
        await self._see_listing()
        await self._try_patches()
        await self._try_creates_again()
        await self._try_foreign_create()
        await self._try_puts()
        await self._try_deactivation()
        await self._try_reactivation()

    # -- what is seen

    def see(self, code: str, seen: str, *, is_assumed: bool | None = None) -> None:
        """Record a fact. *is_assumed* decides where *seen* is not literally what was expected."""
        as_assumed = seen == EXPECTED_FACTS[code] if is_assumed is None else is_assumed
        verdict = FactVerdict.AS_ASSUMED if as_assumed else FactVerdict.DIFFERS
        self.session.facts[code] = Fact(code, seen, verdict)

    @property
    def _canary(self) -> Member:
        if self.member is None:
            raise AssertionError("no step but the create comes without a canary")
        return self.member

    async def _create(self) -> None:
        record = self.session.record
        await self.session.begin("create", creates=True)
        answer = await self._post(record.canary)
        if not answer.is_success:
            self.session.is_unsettled = False
            self.see("create", _status_text(answer))
            return
        self.see("create", _created_text(answer))
        member = answer.member or await self._find_created(record.canary)
        await self.session.settle(member, record.canary, is_canary=True)
        self.member = member
        await self._require_shown()

    async def _bring_back(self, canary: Member) -> None:
        self.session.facts.update({code: self.carried[code] for code in ("create",) if code in self.carried})
        await self.session.begin("activate the canary of an earlier probe")
        self.member = await self.session.activate(canary)
        await self._require_shown()

    async def _require_shown(self) -> None:
        """Raise `WriteLost` unless the canary is shown active within 5 s: no later step would show anything."""
        if await self._reread(lambda member: member.active is True):
            return
        self.see("read-lag", "more than 5 s until a write was shown")
        raise WriteLost(
            f"{self.session.workspace} does not show {self._canary.email} as active, 5 s after it was written.",
            "Its reads lag too far behind its writes for a probe. Ask Pigment's support.",
        )

    async def _post(self, email: str) -> ProbeAnswer:
        record = self.session.record
        return await self.session.requests.create(email, record.display_name, CANARY_GIVEN_NAME, record.nonce)

    async def _find_created(self, email: str) -> Member:
        """Return the member that a create made whose answer did not show it."""
        record = self.session.record
        for seconds in LAG_DELAYS_SECONDS:
            await self.session.sleep(seconds)
            listing = await self.session.writer.list_members()
            for member in listing.members:
                is_there = normalize(member.email) == normalize(email) and member.scim_id not in record.members
                if is_there and record.owns(member):
                    return member
        raise WriteLost(
            f"{self.session.workspace} answered a create of {email} with success, and does not list the member.",
            "Run the probe again in some minutes.",
        )

    async def _see_member(self) -> None:
        answer = await self.session.requests.get(self._canary.scim_id)
        member = answer.member or self._canary
        self.see("read-by-id", _created_text(answer))
        self.see("byte-order-mark", "a mark before the JSON" if answer.has_byte_order_mark else "no mark")
        active = _field(answer.resource, "active")
        self.see("active-type", "a boolean" if isinstance(active, bool) else _kind(active))
        shown = "not shown" if member.formatted is None else "another name"
        self.see("name-formatted", "the display name" if member.formatted == member.display_name else shown)
        name = _field(answer.resource, "name")
        parts = [part for part in ("givenName", "familyName") if isinstance(name, Mapping) and _field(name, part)]
        self.see("name-parts", f"{' and '.join(parts)} stored" if parts else "not stored")
        strength = "a weak version" if member.etag.startswith("W/") else "a version"
        self.see("version", strength if member.etag else "no version")

    async def _see_filters(self) -> None:
        requests, canary = self.session.requests, self.session.record.canary
        self.see("filter", _page_text(await requests.filter("userName", canary), canary))
        self.see("filter-case", _page_text(await requests.filter("userName", canary.swapcase()), canary))
        by_email = [_page_text(await requests.filter(name, canary), canary) for name in ("emails.value", WORK_EMAIL)]
        expected = EXPECTED_FACTS["filter-emails"]
        self.see("filter-emails", next((each for each in by_email if each != expected), expected))
        self.see("no-match", _page_text(await requests.filter("userName", UNKNOWN_ADDRESS), UNKNOWN_ADDRESS))
        self.see("groups", str(await requests.get_groups()))

    async def _see_listing(self) -> None:
        requests = self.session.requests
        count = await self._see_listed("listed")
        first = await requests.fetch_page(1, PAGE_SIZE)
        again = await requests.fetch_page(1, PAGE_SIZE)
        narrow = await requests.fetch_page(1, 1)
        if first.status != OK:
            return
        wrong = "not a number" if first.total is None else f"{first.total}, and {count} members"
        wrong = wrong if first.total != count else f"{narrow.total} on a page of {narrow.row_count}"
        is_right = first.total == narrow.total == count
        self.see("total-results", "the number of members" if is_right else wrong)
        wanted = min(PAGE_SIZE, count)
        short = f"{first.row_count} of {wanted} requested"
        self.see("page-size", "as requested" if first.row_count == wanted and narrow.row_count == 1 else short)
        if count > 1:
            is_same = [each.scim_id for each in first.members] == [each.scim_id for each in again.members]
            self.see("listing-order", "the same twice" if is_same else "another order the second time")
        self.see("next-cursor", "a cursor" if first.has_cursor or narrow.has_cursor else "no cursor")

    async def _see_listed(self, code: str) -> int:
        """List everyone, record how often the canary is listed, and return the number of members."""
        listing = await self.session.writer.list_members()
        times = sum(normalize(each.email) == normalize(self._canary.email) for each in listing.members)
        self.see(code, {0: "not listed", 1: "once"}.get(times, f"{times} times"))
        return len(listing.members)

    # -- what is written

    async def _try_patches(self) -> None:
        record = self.session.record
        names = [f"{record.display_name} {letter}" for letter in "ABC"]
        second = record.second_address

        def has_second(member: Member) -> bool:
            return orjson.dumps(second).lower() in member.resource.lower()

        await self._patch(
            "patch-display-name",
            [("replace", "displayName", names[0])],
            lambda member: member.display_name == names[0],
        )
        await self._patch(
            "patch-formatted",
            [("replace", "name.formatted", names[1])],
            lambda member: member.display_name == names[1] and member.formatted in {None, names[1]},
        )
        if self._canary.formatted == names[1] != self._canary.display_name:
            seen = self.session.facts["patch-formatted"].seen
            self.see("patch-formatted", seen.replace("not changed", "changed alone"))
        await self._patch("patch-email", [("replace", WORK_EMAIL, second)], has_second, expects_change=False)
        await self._return_home()
        await self._patch("patch-user-name", [("replace", "userName", second)], has_second, expects_change=False)
        await self._return_home()
        await self.session.begin("patch-mixed")
        operations = [("replace", "displayName", names[2]), ("replace", "userName", second)]
        answer = await self.session.requests.patch(self._canary.scim_id, operations)
        await self._reread(lambda member: member.display_name == names[2], is_patient=answer.is_success)
        changed = {
            (True, False): "the name changed, the email not",
            (True, True): "both changed",
            (False, True): "the email changed, the name not",
            (False, False): "nothing changed",
        }[self._canary.display_name == names[2], has_second(self._canary)]
        self.see("patch-mixed", changed if answer.is_success else f"{_status_text(answer)}, {changed}")
        await self._return_home()

    async def _patch(
        self, code: str, operations: Sequence[PatchOperation], is_done: Predicate, *, expects_change: bool = True
    ) -> None:
        """PATCH the canary, read it back, and record under *code* whether it changed."""
        await self.session.begin(code)
        answer = await self.session.requests.patch(self._canary.scim_id, operations)
        await self._reread(is_done, is_patient=answer.is_success and expects_change)
        changed = "changed" if is_done(self._canary) else "not changed"
        is_refused = not answer.is_success and changed == "not changed"
        self.see(code, _status_text(answer) if is_refused else f"{answer.status}, {changed}")

    async def _try_creates_again(self) -> None:
        canary = self.session.record.canary
        await self._create_again("create-again", canary)
        await self._create_again("create-again-case", canary.swapcase())

    async def _create_again(self, code: str, email: str) -> None:
        """POST a second member with the same address, and move one that was created out of the way at once.

        Not again on a server that has created one: each would be one more member that no one can remove.
        """
        earlier = self.carried.get(code)
        if earlier is not None and earlier.seen.endswith(ANOTHER_MEMBER):
            self.session.facts[code] = earlier
            return
        await self.session.begin(code, creates=True)
        answer = await self._post(email)
        if not answer.is_success:
            self.session.is_unsettled = False
            self.see(code, _status_text(answer))
            return
        made = answer.member or await self._find_created(email)
        if made.scim_id == self._canary.scim_id:
            self.session.is_unsettled = False
            self.see(code, f"{answer.status} with the same member")
        else:
            self.see(code, f"{answer.status} {ANOTHER_MEMBER}")
            await self._put_away(made, self.session.record.duplicate_address)
        await self._reread(lambda _: True)

    async def _try_foreign_create(self) -> None:
        """Create a member in a domain that no company has: refused only where the workspace restricts domains."""
        foreign = self.session.record.foreign_address
        await self.session.begin("foreign-domain", creates=True)
        answer = await self._post(foreign)
        if answer.is_success:
            self.see("foreign-domain", _created_text(answer), is_assumed=_created_text(answer).startswith("201 with "))
            await self._put_away(answer.member or await self._find_created(foreign), foreign)
            return
        self.session.is_unsettled = False
        earlier = foreign in self.session.record.members.values()
        if answer.status == CONFLICT and earlier:
            text = f"{_status_text(answer)}{BY_EARLIER_PROBE}"
            self.session.facts["foreign-domain"] = self.carried.get(
                "foreign-domain", Fact("foreign-domain", text, FactVerdict.AS_ASSUMED)
            )
            return
        is_restricted = answer.status == BAD_REQUEST and answer.scim_type == "invalidValue"
        self.see("foreign-domain", _status_text(answer), is_assumed=is_restricted)

    async def _put_away(self, made: Member, home: str) -> None:
        """Record a member that this probe created besides the canary, and deactivate it at once."""
        await self.session.settle(made, home)
        restored = await self.session.restore_member(made, home)
        await self.session.settle(restored, home)

    async def _try_puts(self) -> None:
        record = self.session.record
        scim_id = self._canary.scim_id
        answer = await self._put("put-email", email=record.second_address)
        is_moved = self._has_address(record.second_address)
        changed = "changed" if is_moved else "not changed"
        self.see("put-email", _status_text(answer) if not answer.is_success else f"{answer.status}, {changed}")
        if is_moved:
            self.see("id-after-email", "the same" if self._canary.scim_id == scim_id else "another id")
        if answer.is_success:
            self.see("put-active", "as sent" if self._canary.active is True else "inactive, and active was sent")
        await self._return_home()
        if is_moved:
            await self._try_foreign_put()
        answer = await self._put("external-id", extra={"externalId": record.nonce})
        stored = "stored" if _field(self.resource, "externalId") is not None else "not stored"
        self.see("external-id", stored if answer.is_success else _status_text(answer))
        await self._return_home()
        await self._try_put_without_active(active=True)

    async def _try_foreign_put(self) -> None:
        foreign = self.session.facts.get("foreign-domain")
        address = self.session.record.second_foreign_address
        answer = await self._put("put-foreign-domain", email=address)
        is_moved = self._has_address(address)
        await self._return_home()
        if foreign is None or (answer.status in range(200, 300) and not is_moved):
            return
        is_consistent = is_moved == (foreign.seen.startswith("2") or foreign.seen.endswith(BY_EARLIER_PROBE))
        seen = "accepted" if is_moved else f"refused with {_status_text(answer)}"
        self.see("put-foreign-domain", EXPECTED_FACTS["put-foreign-domain"] if is_consistent else seen)

    async def _put(
        self, step: str, *, email: str | None = None, extra: Mapping[str, object] | None = None
    ) -> ProbeAnswer:
        await self.session.begin(step)
        wanted = email or self._canary.email
        answer = await self.session.requests.replace(self._canary, email=email, active=True, extra=extra)
        await self._reread(
            lambda member: normalize(member.email) == normalize(wanted), is_patient=answer.is_success, answer=answer
        )
        return answer

    async def _try_put_without_active(self, *, active: bool) -> None:
        await self.session.begin("put-without-active")
        omitted: Literal["omitted"] = "omitted"
        answer = await self.session.requests.replace(self._canary, active=omitted)
        await self._reread(lambda _: True)
        if answer.is_success:
            self.put_without_active.append((active, self._canary.active))
        else:
            self.put_without_active.append(_status_text(answer))
        words = {True: "active", False: "inactive", None: "unreadable"}
        seen = [
            each if isinstance(each, str) else f"{words[each[0]]} became {words[each[1]]}"
            for each in self.put_without_active
            if isinstance(each, str) or each[0] is not each[1]
        ]
        self.see("put-without-active", ", ".join(dict.fromkeys(seen)) or "not changed")

    async def _try_deactivation(self) -> None:
        await self._ensure(active=True)
        await self._patch("deactivate", [("replace", "active", False)], lambda member: member.active is False)
        await self._ensure(active=False)
        canary = self.session.record.canary
        await self._see_listed("inactive-listed")
        self.see("inactive-found", _page_text(await self.session.requests.filter("userName", canary), canary))
        await self._create_again("create-again-inactive", canary)
        await self._ensure(active=False)
        await self._try_put_without_active(active=False)

    async def _try_reactivation(self) -> None:
        await self._ensure(active=False)
        await self._patch("reactivate", [("replace", "active", True)], lambda member: member.active is True)
        await self._ensure(active=True)
        await self._patch("patch-active-text", [("Replace", "active", "False")], lambda member: member.active is False)

    # -- back to where a step starts

    async def _ensure(self, *, active: bool) -> None:
        if self._canary.active is not active:
            await self.session.begin("activate the canary" if active else "deactivate the canary")
            change = self.session.activate if active else self._deactivate
            self.member = await change(self._canary)

    async def _deactivate(self, member: Member) -> Member:
        return await self.session.restore_member(member, member.email)

    async def _return_home(self) -> None:
        """Give the canary its own address back, and make it active.

        Not both by one PUT: whether a PUT can activate is a fact of its own.
        """
        home = self.session.record.canary
        if not self._has_address(home):
            await self.session.begin("give the canary its address back")
            self.member = await self.session.writer.replace(
                self._canary, Fields(email=home, active=self._canary.active is not False)
            )
            await self._follow_id()
        await self._ensure(active=True)

    async def _follow_id(self) -> None:
        if self._canary.scim_id != self.session.record.canary_id:
            await self.session.settle(self._canary, self.session.record.canary, is_canary=True)

    def _has_address(self, address: str) -> bool:
        return normalize(self._canary.email) == normalize(address)

    async def _reread(self, is_shown: Predicate, *, is_patient: bool = True, answer: ProbeAnswer | None = None) -> bool:
        """Read the canary until *is_shown*, for 5 s at most where *is_patient*, and keep it as last read."""
        waited = 0.0
        lags = "read-lag" in self.session.facts and self.session.facts["read-lag"].verdict is FactVerdict.DIFFERS
        delays = LAG_DELAYS_SECONDS if is_patient else (LAG_SECONDS if lags else 0.0,)
        for seconds in delays:
            if seconds:
                await self.session.sleep(seconds)
            waited += seconds
            if not await self._read(answer):
                continue
            if is_shown(self._canary):
                if is_patient:
                    self._see_lag(waited)
                await self._follow_id()
                return True
        await self._follow_id()
        return False

    def _see_lag(self, waited: float) -> None:
        if waited:
            self.see("read-lag", f"{waited:g} s until a write was shown")
        elif "read-lag" not in self.session.facts:
            self.see("read-lag", "no lag")

    async def _read(self, update: ProbeAnswer | None) -> bool:
        """Read the canary, under its new id if a write changed that; return whether it is shown."""
        ids = [self._canary.scim_id]
        if update is not None and update.member is not None and update.member.scim_id not in ids:
            ids.append(update.member.scim_id)
        for scim_id in ids:
            answer = await self.session.requests.get(scim_id)
            if answer.member is not None and self.session.record.owns(answer.member):
                self.member, self.resource = answer.member, answer.resource
                return True
        if update is not None and update.is_success:
            return await self._find_moved()
        return False

    async def _find_moved(self) -> bool:
        """Find the canary by its addresses, where its id is gone and the answer did not show another one."""
        record = self.session.record
        for address in (record.second_address, record.canary, record.second_foreign_address):
            page = await self.session.requests.filter("userName", address)
            found = [member for member in page.members if record.owns(member)]
            if len(found) == 1:
                self.member = found[0]
                return True
        return False


def _field(resource: Mapping[str, Any], name: str) -> object:
    """Return an attribute, ignoring the case of its name (RFC 7643, section 2.1)."""
    return next((value for key, value in resource.items() if key.lower() == name.lower()), None)


def _kind(value: object) -> str:
    if value is None:
        return "missing"
    return "text" if isinstance(value, str) else "a number" if isinstance(value, int | float) else "another type"


def _status_text(answer: ProbeAnswer) -> str:
    return f"{answer.status} {answer.scim_type}".strip()


def _created_text(answer: ProbeAnswer) -> str:
    return f"{answer.status} {'with' if answer.member is not None else 'without'} the member"


def _page_text(page: ProbePage, email: str) -> str:
    if page.status != OK:
        return str(page.status)
    matching = sum(normalize(each.email) == normalize(email) for each in page.members)
    if matching != page.row_count:
        return f"{page.status}, other members too"
    return f"{page.status}, {'1 member' if matching == 1 else f'{matching} members'}"
