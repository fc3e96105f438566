"""Write to one member at a time, and prove each write by what the workspace shows afterwards.

answer                       create (POST)                               change (PUT, PATCH)
---------------------------  ------------------------------------------  ------------------------------------------
2xx, the member shows it     done                                        done
2xx without a member         look the email up                           GET
2xx, the member lacks it     GET, then NotPersisted                      GET, then NotPersisted
none, or 5xx                 look up; there: done; not: once more        retried, then WriteLost or WriteRefused
409                          WriteRefused 409 (the caller looks up)      WriteRefused 409
412                          -                                           GET; unchanged since the listing: once more
405, 501                     WriteRefused                                PATCH: the full PUT, from then on at once
401, 403                     next token; none left: WorkspaceGone        the same
other                        WriteRefused                                WriteRefused
"""

from __future__ import annotations

from agent.errors import NotPersisted, WorkspaceGone, WriteError, WriteLost, WriteRefused
from agent.model import Fields, Member
from agent.scim.body import creation, modification, replacement, shows_display_name
from agent.scim.codec import member_from_json
from agent.scim.endpoint import Endpoint, error_type, user_path
from agent.scim.find import Finder
from agent.scim.proof import lacking, shows
from connectors.base import ReadError
from connectors.rest import HEALING, Answer, NoAnswer, NotSent, Timer

__all__ = ["Writer"]

BAD_REQUEST, NOT_FOUND, CONFLICT, PRECONDITION_FAILED, SERVER_ERRORS = 400, 404, 409, 412, range(500, 600)
NO_PATCH = frozenset({405, 501})
UNIQUENESS = "uniqueness"
POSTS = 2
SETTLING_SECONDS = 1.0
"""How long a lost POST is left to finish at the server before it is looked for."""

SILENT = HEALING - {500}
"""Statuses that are the host's, not the member's. A 500 may be one member's: the others are tried."""

SILENCES = 3
"""So many changes in a row without an answer, each with all its retries, and the workspace is out of reach."""


class Writer:
    """Writes to one workspace. Raises `WriteError` alone, `WorkspaceGone` when the rest need not be tried."""

    def __init__(self, endpoint: Endpoint, finder: Finder, timer: Timer) -> None:
        self._endpoint = endpoint
        self._finder = finder
        self._timer = timer
        self._can_patch = True
        self._silences = 0

    async def create(self, email: str, display_name: str, given_name: str, family_name: str) -> Member:
        """POST an active member; after a lost answer look before posting again."""
        wanted = Fields(email, display_name, True)
        body = creation(email, display_name, given_name, family_name)
        lost = ""
        for _ in range(POSTS):
            answer = await self._post(body)
            if isinstance(answer, Answer) and answer.status not in SERVER_ERRORS:
                if lost and answer.status == CONFLICT and (member := await self._looked_up(wanted, lost)):
                    return member
                return await self._created(answer, wanted)
            lost = answer if isinstance(answer, str) else f"answer {answer.status}{self._endpoint.api.said(answer)}"
            await self._timer.sleep(SETTLING_SECONDS)
            if member := await self._looked_up(wanted, lost):
                return member
        if not isinstance(answer, Answer) or answer.status in SILENT:
            self._count_silence(lost)
        raise WriteLost(
            f"{self._endpoint.who} did not say whether it created {email} ({lost}), and does not show it.",
            "The next run looks again.",
        )

    async def patch(self, member: Member, wanted: Fields) -> Member:
        """PATCH name and state; the full PUT where PATCH is unknown, or could not be proved."""
        has_unseen_name = wanted.display_name is not None and not shows_display_name(member)
        if wanted.email is not None or has_unseen_name or not self._can_patch:
            return await self.replace(member, wanted)
        return await self._change("PATCH", member, wanted)

    async def replace(self, member: Member, wanted: Fields) -> Member:
        """PUT the whole member, built on *member* as it was read."""
        return await self._change("PUT", member, wanted)

    async def _post(self, body: dict[str, object]) -> Answer | str:
        """Return the answer, or why there is none."""
        try:
            return await self._endpoint.post("Users", body)
        except NotSent as error:
            raise self._unreachable(str(error)) from error
        except NoAnswer as error:
            return str(error)

    async def _created(self, answer: Answer, wanted: Fields) -> Member:
        email = wanted.email or ""
        self._hear(answer)
        if not answer.is_success:
            raise self._refused(answer, f"to the creation of {email}", is_create=True)
        member = _member(answer)
        if member is None:
            member = await self._looked_up(wanted, f"answer {answer.status} without a member")
        elif not shows(member, wanted):
            member = await self._read_again(member.scim_id, email)
        return self._shown(member, wanted, email)

    async def _looked_up(self, wanted: Fields, lost: str) -> Member | None:
        """Return the member that a POST made, None when there is none with that email."""
        email = wanted.email or ""
        try:
            found = await self._finder.find(email)
        except ReadError as error:
            raise WriteLost(
                f"{self._endpoint.who} did not say whether it created {email} ({lost}), and can't be asked: "
                f"{error.message}",
                "The next run looks again.",
            ) from error
        if len(found) == 1 and shows(found[0], wanted):
            self._silences = 0
            return found[0]
        if found:
            raise WriteRefused(
                f"{self._endpoint.who} has a member with {email} that is not the one to be created.",
                "See the next plan.",
                CONFLICT,
                UNIQUENESS,
            )
        return None

    async def _change(self, method: str, member: Member, wanted: Fields) -> Member:
        answer = await self._sent(method, member, wanted)
        if _is_outdated(answer, member):
            fresh = await self._read_again(member.scim_id, member.email)
            if fresh is not None and shows(fresh, wanted):
                return fresh
            if fresh is None or fresh != member:
                raise WriteRefused(
                    f"{self._endpoint.who} shows {member.email} otherwise than when it was listed.",
                    "The next run plans with what it shows now.",
                    answer.status,
                )
            answer = await self._sent(method, fresh, wanted)
        if method == "PATCH" and answer.status in NO_PATCH:
            self._can_patch = False
            return await self._change("PUT", member, wanted)
        if not answer.is_success:
            raise self._refused(answer, f"to {method} for {member.email}")
        shown = _member(answer)
        if shown is None or shown.scim_id != member.scim_id or not shows(shown, wanted):
            shown = await self._read_again(member.scim_id, member.email)
        return self._shown(shown, wanted, member.email)

    async def _sent(self, method: str, member: Member, wanted: Fields) -> Answer:
        body = _body(method, member, wanted)
        try:
            answer = await self._endpoint.repeat(method, user_path(member.scim_id), body, member.etag)
        except NotSent as error:
            raise self._unreachable(str(error)) from error
        except NoAnswer as error:
            self._count_silence(str(error))
            raise WriteLost(
                f"{self._endpoint.who} gave no answer to {method} for {member.email} ({error}).",
                "The next run sees whether it was made.",
            ) from error
        self._hear(answer)
        return answer

    async def _read_again(self, scim_id: str, email: str) -> Member | None:
        """Return the member as it is now, None when it is not there."""
        try:
            answer = await self._endpoint.read(user_path(scim_id), (200, NOT_FOUND))
            return None if answer.status == NOT_FOUND else member_from_json(answer.json())
        except ReadError as error:
            raise WriteLost(
                f"{self._endpoint.who} took a write to {email} and can't be asked whether it was made: {error.message}",
                "The next run sees.",
            ) from error

    def _shown(self, member: Member | None, wanted: Fields, email: str) -> Member:
        if member is None or not shows(member, wanted):
            lacks = "it at all" if member is None else f"its new {' and '.join(lacking(member, wanted))}"
            raise NotPersisted(
                f"{self._endpoint.who} accepted the write to {email} and does not show {lacks}.",
                "Look at the member in Pigment; if it stays so, ask Pigment's support.",
            )
        return member

    def _refused(self, answer: Answer, to_what: str, *, is_create: bool = False) -> WriteRefused:
        kind = error_type(answer)
        is_taken = is_create and kind == UNIQUENESS and answer.status == BAD_REQUEST
        return WriteRefused(
            f"{self._endpoint.who} answered {answer.status}{f' {kind}' if kind else ''} {to_what}"
            f"{self._endpoint.api.said(answer)}.",
            _way_out(answer.status),
            CONFLICT if is_taken else answer.status,
            kind,
        )

    def _hear(self, answer: Answer) -> None:
        if answer.status in SILENT:
            self._count_silence(f"answer {answer.status}{self._endpoint.api.said(answer)}")
        else:
            self._silences = 0

    def _count_silence(self, why: str) -> None:
        self._silences += 1
        if self._silences >= SILENCES:
            raise self._unreachable(why)

    def _unreachable(self, why: str) -> WorkspaceGone:
        gone = WorkspaceGone(
            f"{self._endpoint.who} is out of reach ({why}); what is left was not tried.",
            "Check the network and Pigment's status page; the next run goes on where this one ended.",
        )
        gone.code = "unreachable"
        return gone


def _body(method: str, member: Member, wanted: Fields) -> dict[str, object]:
    if method == "PATCH":
        return modification(member, display_name=wanted.display_name, active=wanted.active)
    active = member.active if wanted.active is None else wanted.active
    if active is None:
        raise WriteError(
            f"The workspace does not say whether {member.email} is active, so that a full PUT would have to guess.",
            "Look at the member in Pigment.",
        )
    return replacement(member, wanted, active)


def _is_outdated(answer: Answer, member: Member) -> bool:
    """Tell whether the member changed since it was read: 412, or what some servers say instead (409)."""
    is_version = answer.status == CONFLICT and bool(member.etag) and error_type(answer) != UNIQUENESS
    return answer.status == PRECONDITION_FAILED or is_version


def _member(answer: Answer) -> Member | None:
    try:
        return member_from_json(answer.json()) if answer.body else None
    except ReadError:
        return None


def _way_out(status: int) -> str:
    if status == NOT_FOUND:
        return "The member may have been removed since it was listed; the next run sees."
    if status == CONFLICT:
        return "Another member has this address. See the next plan."
    if status in HEALING:
        return "Try again later; if it stays, look at Pigment's status page."
    return "Mend what the answer names, at the source or in Pigment (its domain restriction among them)."
