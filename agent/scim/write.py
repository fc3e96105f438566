"""Write to one member at a time, and prove each write by what the workspace shows afterwards.

answer                       create (POST)                               change (PUT, PATCH)
---------------------------  ------------------------------------------  ------------------------------------------
2xx, the member shows it     done                                        done
2xx, another id              -                                           done where the old id is gone or the same
2xx without a member         look the email up for 5 s, then WriteLost   GET for 5 s, then NotPersisted
2xx, the member lacks it     GET for 5 s, then NotPersisted              GET for 5 s, then NotPersisted
none, 408, or 5xx            look up; there: done; not: once more        retried, then WriteLost or WriteRefused
409                          WriteRefused 409 (the caller looks up)      WriteRefused 409
409 after a lost answer      look the email up for 5 s, then WriteLost   -
412, 428                     -                                           GET; unchanged since the listing: once more
405, 501                     WriteRefused                                PATCH: the full PUT, from then on at once
429, 403 with `Retry-After`  waited for, then sent again                 the same
403, a GET is answered       WriteRefused                                WriteRefused
401, other 403               next token; none left: WorkspaceGone        the same
other                        WriteRefused                                WriteRefused
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from agent.errors import NotPersisted, WorkspaceGone, WriteError, WriteLost, WriteRefused, WriteStopped
from agent.model import Fields, Member
from agent.scim.body import creation, modification, replacement, shows_display_name
from agent.scim.codec import member_from_json
from agent.scim.endpoint import UNANSWERED, Endpoint, error_type, user_path
from agent.scim.find import Finder
from agent.scim.proof import lacking, sent_by_put, sent_formatted, shows
from connectors.base import ReadError
from connectors.rest import HEALING, Answer, NoAnswer, NotSent, Timer, is_rate_limit

__all__ = ["Writer"]

BAD_REQUEST, FORBIDDEN, NOT_FOUND, CONFLICT, TOO_MANY = 400, 403, 404, 409, 429
PRECONDITION_FAILED, PRECONDITION_REQUIRED = 412, 428
NO_PATCH = frozenset({405, 501})
UNIQUENESS = "uniqueness"
WEAK = "W/"
POSTS = 2
SETTLING_SECONDS = 1.0
"""How long a lost POST is left to finish at the server before it is looked for."""

LOOKS = (0.25, 0.5, 1.0, 1.25, 2.0)
"""Seconds between the looks at an accepted write, 5 in all: reads may lag behind writes."""

LAST_LOOK = (5.0,)
VAIN = 3
"""After so many accepted writes in a row that never showed, further ones are checked twice, not six times."""

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
        self._vain = 0

    async def create(self, email: str, display_name: str, given_name: str, family_name: str) -> Member:
        """POST an active member; after a lost answer look before posting again."""
        wanted = Fields(email, display_name, True)
        body = creation(email, display_name, given_name, family_name)
        lost = ""
        for _ in range(POSTS):
            try:
                answer = await self._post(body)
            except WriteStopped as error:
                raise WriteStopped(error.message, error.hint, may_be_made=error.may_be_made or bool(lost)) from error
            except WorkspaceGone as error:
                may_be_made = error.may_be_made or bool(lost)
                raise WorkspaceGone(error.message, error.hint, error.code, may_be_made=may_be_made) from error
            if isinstance(answer, Answer) and answer.status not in UNANSWERED:
                if lost and answer.status == CONFLICT:
                    return await self._met(wanted, lost)
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
        shown = _member(answer)
        if shown is not None and shows(shown, wanted):
            return shown
        lost = f"answer {answer.status}{'' if shown else ' without a member'}"

        async def look() -> Member | None:
            member = await self._read_again(shown.scim_id, email) if shown is not None else None
            return member or await self._looked_up(wanted, lost)

        try:
            member = await self._seen(look, wanted)
        except WriteLost as error:
            raise WriteLost(error.message, error.hint, is_accepted=True) from error
        if member is None:
            raise WriteLost(
                f"{self._endpoint.who} answered {answer.status} to the creation of {email} and shows no such member.",
                "It is not sent again blindly: the next runs look for the member.",
                is_accepted=True,
            )
        return self._proved(member, wanted, email)

    async def _seen(
        self, look: Callable[[], Awaitable[Member | None]], sent: Fields, formatted: str | None = None
    ) -> Member | None:
        """Look until the member shows what was *sent*, for 5 s at most, and return it as it was seen last."""
        member = await look()
        for seconds in LOOKS if self._vain < VAIN else LAST_LOOK:
            if member is not None and shows(member, sent, formatted):
                self._vain = 0
                return member
            await self._timer.sleep(seconds)
            member = await look()
        is_vain = member is None or not shows(member, sent, formatted)
        self._vain = self._vain + 1 if is_vain else 0
        return member

    async def _met(self, wanted: Fields, lost: str) -> Member:
        """Return the member that a second POST met: what the first one made, as far as can be seen."""
        member = await self._seen(lambda: self._looked_up(wanted, lost), wanted)
        if member is None:
            raise WriteLost(
                f"{self._endpoint.who} did not confirm that it created {wanted.email} ({lost}), refuses a second "
                "create because the address is taken, and does not show who has it.",
                "It is not sent again blindly: the next runs look for the member.",
                is_accepted=True,
            )
        return member

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
        sent = wanted if method == "PATCH" else sent_by_put(member, wanted)
        answer = await self._sent(method, member, wanted, member.etag)
        if _is_outdated(answer, member):
            fresh = await self._read_again(member.scim_id, member.email)
            if fresh is not None and shows(fresh, sent):
                return fresh
            if fresh is None or fresh != member:
                raise WriteRefused(
                    f"{self._endpoint.who} shows {member.email} otherwise than when it was listed.",
                    "The next run plans with what it shows now.",
                    answer.status,
                )
            answer = await self._sent(method, fresh, wanted, _version(answer.status, member, fresh))
        if method == "PATCH" and answer.status in NO_PATCH:
            self._can_patch = False
            return await self._change("PUT", member, wanted)
        if not answer.is_success:
            raise self._refused(answer, f"to {method} for {member.email}")
        return await self._made(answer, member, wanted, sent)

    async def _made(self, answer: Answer, member: Member, wanted: Fields, sent: Fields) -> Member:
        """Return the member once the workspace shows all that was *sent*, in the answer or within 5 s."""
        formatted = sent_formatted(member, sent.display_name)
        shown = _member(answer)
        if shown is not None and shown.scim_id == member.scim_id and shows(shown, sent, formatted):
            return shown
        # Ids that follow the email: the answer shows the member under another one.
        here = replace(sent, email=sent.email or member.email)
        renewed = shown.scim_id if shown is not None and shows(shown, here, formatted) else member.scim_id

        async def look() -> Member | None:
            seen = await self._read_again(member.scim_id, member.email)
            if seen is not None and seen.scim_id in {member.scim_id, renewed}:
                return seen
            if seen is not None:
                return None
            if renewed != member.scim_id:
                found = await self._read_again(renewed, member.email)
                return found if found is not None and shows(found, here) else None
            return await self._moved(member, wanted, sent, formatted)

        seen = await self._seen(look, sent, formatted)
        return self._proved(seen, sent, member.email, formatted, wanted=wanted)

    async def _moved(self, member: Member, wanted: Fields, sent: Fields, formatted: str | None) -> Member | None:
        """Return the member under its new email, where its id is gone after a write that changed the email."""
        if wanted.email is None:
            return None
        try:
            found = await self._finder.find(wanted.email)
        except ReadError as error:
            raise self._unseen(member.email, error) from error
        return found[0] if len(found) == 1 and shows(found[0], sent, formatted) else None

    async def _sent(self, method: str, member: Member, wanted: Fields, version: str) -> Answer:
        body = _body(method, member, wanted)
        try:
            answer = await self._endpoint.repeat(method, user_path(member.scim_id), body, version)
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
        """Return the member as it is now, with its version, None when it is not there."""
        try:
            answer = await self._endpoint.read(user_path(scim_id), (200, NOT_FOUND))
            member = None if answer.status == NOT_FOUND else member_from_json(answer.json())
        except ReadError as error:
            raise self._unseen(email, error) from error
        if member is None or member.etag:
            return member
        return replace(member, etag=answer.headers.get("etag", ""))

    def _unseen(self, email: str, error: ReadError) -> WriteLost:
        return WriteLost(
            f"{self._endpoint.who} took a write to {email} and can't be asked whether it was made: {error.message}",
            "The next run sees.",
        )

    def _proved(
        self,
        member: Member | None,
        sent: Fields,
        email: str,
        formatted: str | None = None,
        *,
        wanted: Fields | None = None,
    ) -> Member:
        """Return *member*, or raise `NotPersisted` where it does not show what was *sent*."""
        if member is not None and shows(member, sent, formatted):
            return member
        if member is None:
            failure = "does not show it at all"
        else:
            missed = lacking(member, sent, formatted)
            asked = [name for name in missed if name in lacking(member, wanted or sent, formatted)]
            other = [name for name in missed if name not in asked]
            parts = [f"does not show its new {' and '.join(asked)}"] if asked else []
            parts += [f"changed its {' and '.join(other)}, which was not asked for"] if other else []
            failure = ", and ".join(parts)
        raise NotPersisted(
            f"{self._endpoint.who} accepted the write to {email} and {failure}.",
            "Check the member in Pigment; if the problem persists, ask Pigment's support.",
        )

    def _refused(self, answer: Answer, to_what: str, *, is_create: bool = False) -> WriteRefused:
        kind = error_type(answer)
        is_taken = is_create and kind == UNIQUENESS and answer.status == BAD_REQUEST
        return WriteRefused(
            f"{self._endpoint.who} answered {answer.status}{f' {kind}' if kind else ''} {to_what}"
            f"{self._endpoint.api.said(answer)}.",
            _way_out(TOO_MANY if is_rate_limit(answer.status, answer.headers) else answer.status),
            CONFLICT if is_taken else answer.status,
            kind,
        )

    def _hear(self, answer: Answer) -> None:
        if answer.status in SILENT or is_rate_limit(answer.status, answer.headers):
            self._count_silence(f"answer {answer.status}{self._endpoint.api.said(answer)}")
        else:
            self._silences = 0

    def _count_silence(self, why: str) -> None:
        self._silences += 1
        if self._silences >= SILENCES:
            raise self._unreachable(why)

    def _unreachable(self, why: str) -> WorkspaceGone:
        return WorkspaceGone(
            f"{self._endpoint.who} is out of reach ({why}); what is left was not tried.",
            "Check the network and Pigment's status page; the next run goes on where this one ended.",
            "unreachable",
        )


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
    """Return whether the member must be read again: 412, 428 (RFC 6585), or what some servers answer instead (409)."""
    is_version = answer.status == CONFLICT and bool(member.etag) and error_type(answer) != UNIQUENESS
    return answer.status in {PRECONDITION_FAILED, PRECONDITION_REQUIRED} or is_version


def _version(status: int, member: Member, fresh: Member) -> str:
    """Return what the second attempt sends as `If-Match`, empty: nothing.

    `If-Match` compares strongly (RFC 9110, section 13.1.1), so that a strict server matches no weak version. It is sent
    all the same where the server demands a version and was shown none.
    """
    is_demanded = status == PRECONDITION_REQUIRED and not member.etag
    return fresh.etag if is_demanded or not fresh.etag.startswith(WEAK) else ""


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
    if status == FORBIDDEN:
        return (
            "Other requests with this token are answered: only this change is refused. Resolve what the answer names "
            "(a seat limit, the last administrator), in Pigment or at the source."
        )
    if status in HEALING:
        return "Try again later; if it stays, look at Pigment's status page."
    return "Mend what the answer names, at the source or in Pigment (its domain restriction among them)."
