"""Write to one member at a time, and prove each write by what the workspace shows afterwards.

answer                       create (POST)                               change (PUT, PATCH)
---------------------------  ------------------------------------------  ------------------------------------------
2xx, the member shows it     done                                        done
2xx, another id              -                                           done where the old id is gone or the same
2xx without a member         look the email up for 5 s, then WriteLost   GET for 5 s, then NotPersisted
2xx, the member lacks it     GET for 5 s, then NotPersisted              GET for 5 s, then NotPersisted
none, 408, or 5xx            look up; there: done; not: once more        retried, then WriteLost
a refusal after such a one   WriteLost, if it is no 409                  WriteLost
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

from agent.errors import NotPersisted, WorkspaceUnavailable, WriteError, WriteLost, WriteRefused, WriteStopped
from agent.model import Fields, Member
from agent.scim.codec import member_from_json
from agent.scim.endpoint import UNKNOWN_OUTCOME_STATUSES, Endpoint, UpdateResponse, error_type, user_path
from agent.scim.lookup import Finder
from agent.scim.payloads import create_payload, has_display_name, patch_payload, replace_payload
from agent.scim.verify import expected_formatted, is_persisted, missing_fields, put_fields
from connectors.base import ReadError
from connectors.http import RETRYABLE_STATUSES, ApiResponse, NoResponse, RequestNotSent, Timer, is_rate_limit

__all__ = ["Writer"]

BAD_REQUEST, FORBIDDEN, NOT_FOUND, CONFLICT, TOO_MANY = 400, 403, 404, 409, 429
PRECONDITION_FAILED, PRECONDITION_REQUIRED = 412, 428
PATCH_UNSUPPORTED_STATUSES = frozenset({405, 501})
UNIQUENESS = "uniqueness"
WEAK_PREFIX = "W/"
MAX_POSTS = 2
SETTLING_SECONDS = 1.0
"""How long a lost POST is left to finish at the server before it is looked for."""

VERIFY_DELAYS_SECONDS = (0.25, 0.5, 1.0, 1.25, 2.0)
"""Seconds between the looks at an accepted write, 5 in all: reads may lag behind writes."""

SHORT_VERIFY_DELAYS_SECONDS = (5.0,)
MAX_UNVERIFIED = 3
"""After so many accepted writes in a row that never showed, further ones are checked twice, not six times."""

UNAVAILABLE_STATUSES = RETRYABLE_STATUSES - {500}
"""Statuses that are the host's, not the member's. A 500 may be one member's: the others are tried."""

MAX_UNANSWERED = 3
"""So many changes in a row without an answer, each with all its retries, and the workspace is out of reach."""


class Writer:
    """Writes to one workspace. Raises `WriteError` alone, `WorkspaceUnavailable` when the rest need not be tried."""

    def __init__(self, endpoint: Endpoint, finder: Finder, timer: Timer) -> None:
        self._endpoint = endpoint
        self._finder = finder
        self._timer = timer
        self._can_patch = True
        self._unanswered_count = 0
        self._unverified_count = 0

    async def create(self, email: str, display_name: str, given_name: str, family_name: str) -> Member:
        """POST an active member; after a lost answer look before posting again."""
        wanted = Fields(email, display_name, True)
        body = create_payload(email, display_name, given_name, family_name)
        lost = ""
        for _ in range(MAX_POSTS):
            try:
                answer = await self._post(body)
            except WriteStopped as error:
                raise WriteStopped(
                    error.message, error.hint, may_be_applied=error.may_be_applied or bool(lost)
                ) from error
            except WorkspaceUnavailable as error:
                may_be_made = error.may_be_applied or bool(lost)
                raise WorkspaceUnavailable(error.message, error.hint, error.code, may_be_applied=may_be_made) from error
            if isinstance(answer, ApiResponse) and answer.status not in UNKNOWN_OUTCOME_STATUSES:
                if lost and answer.status == CONFLICT:
                    return await self._resolve_conflict(wanted, lost)
                return await self._verify_created(answer, wanted, is_after_loss=bool(lost))
            lost = (
                answer
                if isinstance(answer, str)
                else f"answer {answer.status}{self._endpoint.api.response_excerpt(answer)}"
            )
            await self._timer.sleep(SETTLING_SECONDS)
            if member := await self._find_created(wanted, lost):
                return member
        if not isinstance(answer, ApiResponse) or answer.status in UNAVAILABLE_STATUSES:
            self._count_unanswered(lost)
        raise WriteLost(
            f"{self._endpoint.name} did not say whether it created {email} ({lost}), and does not show it.",
            "The next run looks again.",
        )

    async def patch(self, member: Member, wanted: Fields) -> Member:
        """PATCH name and state; the full PUT where PATCH is unknown, or could not be proved."""
        has_unseen_name = wanted.display_name is not None and not has_display_name(member)
        if wanted.email is not None or has_unseen_name or not self._can_patch:
            return await self.replace(member, wanted)
        return await self._update_member("PATCH", member, wanted)

    async def replace(self, member: Member, wanted: Fields) -> Member:
        """PUT the whole member, built on *member* as it was read."""
        return await self._update_member("PUT", member, wanted)

    async def _post(self, body: dict[str, object]) -> ApiResponse | str:
        """Return the answer, or why there is none."""
        try:
            return await self._endpoint.post("Users", body)
        except RequestNotSent as error:
            raise self._unreachable_error(str(error)) from error
        except NoResponse as error:
            return str(error)

    async def _verify_created(self, answer: ApiResponse, wanted: Fields, *, is_after_loss: bool) -> Member:
        email = wanted.email or ""
        self._track_unanswered(answer)
        if not answer.is_success:
            refused = self._refused_error(answer, f"to the creation of {email}", is_create=True)
            # Who has the address after a conflict is looked up by the caller.
            raise _final_error(refused, may_be_applied=is_after_loss and refused.status != CONFLICT)
        shown = _member_from_response(answer)
        if shown is not None and is_persisted(shown, wanted):
            return shown
        lost = f"answer {answer.status}{'' if shown else ' without a member'}"

        async def look() -> Member | None:
            member = await self._reread_member(shown.scim_id, email) if shown is not None else None
            return member or await self._find_created(wanted, lost)

        try:
            member = await self._await_persisted(look, wanted)
        except WriteLost as error:
            raise WriteLost(error.message, error.hint, is_accepted=True) from error
        if member is None:
            raise WriteLost(
                f"{self._endpoint.name} answered {answer.status} to the creation of {email} and shows no such member.",
                "It is not sent again blindly: the next runs look for the member.",
                is_accepted=True,
            )
        return self._require_persisted(member, wanted, email)

    async def _await_persisted(
        self, look: Callable[[], Awaitable[Member | None]], sent: Fields, formatted: str | None = None
    ) -> Member | None:
        """Look until the member shows what was *sent*, for 5 s at most, and return it as it was seen last."""
        member = await look()
        for seconds in (
            VERIFY_DELAYS_SECONDS if self._unverified_count < MAX_UNVERIFIED else SHORT_VERIFY_DELAYS_SECONDS
        ):
            if member is not None and is_persisted(member, sent, formatted):
                self._unverified_count = 0
                return member
            await self._timer.sleep(seconds)
            member = await look()
        is_vain = member is None or not is_persisted(member, sent, formatted)
        self._unverified_count = self._unverified_count + 1 if is_vain else 0
        return member

    async def _resolve_conflict(self, wanted: Fields, lost: str) -> Member:
        """Return the member that a second POST met: what the first one made, as far as can be seen."""
        member = await self._await_persisted(lambda: self._find_created(wanted, lost), wanted)
        if member is None:
            raise WriteLost(
                f"{self._endpoint.name} did not confirm that it created {wanted.email} ({lost}), refuses a second "
                "create because the address is taken, and does not show who has it.",
                "It is not sent again blindly: the next runs look for the member.",
                is_accepted=True,
            )
        return member

    async def _find_created(self, wanted: Fields, lost: str) -> Member | None:
        """Return the member that a POST made, None when there is none with that email."""
        email = wanted.email or ""
        try:
            found = await self._finder.find(email)
        except ReadError as error:
            raise WriteLost(
                f"{self._endpoint.name} did not say whether it created {email} ({lost}), and can't be asked: "
                f"{error.message}",
                "The next run looks again.",
            ) from error
        if len(found) == 1 and is_persisted(found[0], wanted):
            self._unanswered_count = 0
            return found[0]
        if found:
            raise WriteRefused(
                f"{self._endpoint.name} has a member with {email} that is not the one to be created.",
                "See the next plan.",
                CONFLICT,
                UNIQUENESS,
            )
        return None

    async def _update_member(self, method: str, member: Member, wanted: Fields) -> Member:
        sent = wanted if method == "PATCH" else put_fields(member, wanted)
        update = await self._send_update(method, member, wanted, member.etag)
        if _is_outdated(update.answer, member):
            fresh = await self._reread_member(member.scim_id, member.email)
            if fresh is not None and is_persisted(fresh, sent):
                return fresh
            if fresh is None or fresh != member:
                refused = WriteRefused(
                    f"{self._endpoint.name} shows {member.email} otherwise than when it was listed.",
                    "The next run plans with what it shows now.",
                    update.answer.status,
                )
                raise _final_error(refused, may_be_applied=update.may_be_applied)
            version = _if_match_version(update.answer.status, member, fresh)
            update = await self._send_update(method, fresh, wanted, version)
        answer = update.answer
        if method == "PATCH" and answer.status in PATCH_UNSUPPORTED_STATUSES:
            self._can_patch = False
            return await self._update_member("PUT", member, wanted)
        if not answer.is_success:
            refused = self._refused_error(answer, f"to {method} for {member.email}")
            raise _final_error(refused, may_be_applied=update.may_be_applied)
        return await self._verify_updated(answer, member, wanted, sent)

    async def _verify_updated(self, answer: ApiResponse, member: Member, wanted: Fields, sent: Fields) -> Member:
        """Return the member once the workspace shows all that was *sent*, in the answer or within 5 s."""
        formatted = expected_formatted(member, sent.display_name)
        shown = _member_from_response(answer)
        if shown is not None and shown.scim_id == member.scim_id and is_persisted(shown, sent, formatted):
            return shown
        # Ids that follow the email: the answer shows the member under another one.
        here = replace(sent, email=sent.email or member.email)
        renewed = shown.scim_id if shown is not None and is_persisted(shown, here, formatted) else member.scim_id

        async def look() -> Member | None:
            seen = await self._reread_member(member.scim_id, member.email)
            if seen is not None and seen.scim_id in {member.scim_id, renewed}:
                return seen
            if seen is not None:
                return None
            if renewed != member.scim_id:
                found = await self._reread_member(renewed, member.email)
                return found if found is not None and is_persisted(found, here) else None
            return await self._find_renamed(member, wanted, sent, formatted)

        seen = await self._await_persisted(look, sent, formatted)
        return self._require_persisted(seen, sent, member.email, formatted, wanted=wanted)

    async def _find_renamed(self, member: Member, wanted: Fields, sent: Fields, formatted: str | None) -> Member | None:
        """Return the member under its new email, where its id is gone after a write that changed the email."""
        if wanted.email is None:
            return None
        try:
            found = await self._finder.find(wanted.email)
        except ReadError as error:
            raise self._unseen(member.email, error) from error
        return found[0] if len(found) == 1 and is_persisted(found[0], sent, formatted) else None

    async def _send_update(self, method: str, member: Member, wanted: Fields, version: str) -> UpdateResponse:
        body = _payload(method, member, wanted)
        try:
            update = await self._endpoint.send_idempotent(method, user_path(member.scim_id), body, version)
        except RequestNotSent as error:
            raise self._unreachable_error(str(error)) from error
        except NoResponse as error:
            self._count_unanswered(str(error))
            raise WriteLost(
                f"{self._endpoint.name} gave no answer to {method} for {member.email} ({error}).",
                "The next run sees whether it was made.",
            ) from error
        self._track_unanswered(update.answer)
        return update

    async def _reread_member(self, scim_id: str, email: str) -> Member | None:
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
            f"{self._endpoint.name} took a write to {email} and can't be asked whether it was made: {error.message}",
            "The next run sees.",
        )

    def _require_persisted(
        self,
        member: Member | None,
        sent: Fields,
        email: str,
        formatted: str | None = None,
        *,
        wanted: Fields | None = None,
    ) -> Member:
        """Return *member*, or raise `NotPersisted` where it does not show what was *sent*."""
        if member is not None and is_persisted(member, sent, formatted):
            return member
        if member is None:
            failure = "does not show it at all"
        else:
            missed = missing_fields(member, sent, formatted)
            asked = [name for name in missed if name in missing_fields(member, wanted or sent, formatted)]
            other = [name for name in missed if name not in asked]
            parts = [f"does not show its new {' and '.join(asked)}"] if asked else []
            parts += [f"changed its {' and '.join(other)}, which was not asked for"] if other else []
            failure = ", and ".join(parts)
        raise NotPersisted(
            f"{self._endpoint.name} accepted the write to {email} and {failure}.",
            "Check the member in Pigment; if the problem persists, ask Pigment's support.",
        )

    def _refused_error(self, answer: ApiResponse, to_what: str, *, is_create: bool = False) -> WriteRefused:
        kind = error_type(answer)
        is_taken = is_create and kind == UNIQUENESS and answer.status == BAD_REQUEST
        return WriteRefused(
            f"{self._endpoint.name} answered {answer.status}{f' {kind}' if kind else ''} {to_what}"
            f"{self._endpoint.api.response_excerpt(answer)}.",
            _remedy(TOO_MANY if is_rate_limit(answer.status, answer.headers) else answer.status),
            CONFLICT if is_taken else answer.status,
            kind,
        )

    def _track_unanswered(self, answer: ApiResponse) -> None:
        if answer.status in UNAVAILABLE_STATUSES or is_rate_limit(answer.status, answer.headers):
            self._count_unanswered(f"answer {answer.status}{self._endpoint.api.response_excerpt(answer)}")
        else:
            self._unanswered_count = 0

    def _count_unanswered(self, why: str) -> None:
        self._unanswered_count += 1
        if self._unanswered_count >= MAX_UNANSWERED:
            raise self._unreachable_error(why)

    def _unreachable_error(self, why: str) -> WorkspaceUnavailable:
        return WorkspaceUnavailable(
            f"{self._endpoint.name} is out of reach ({why}); what is left was not tried.",
            "Check the network and Pigment's status page; the next run goes on where this one ended.",
            "unreachable",
        )


def _payload(method: str, member: Member, wanted: Fields) -> dict[str, object]:
    if method == "PATCH":
        return patch_payload(member, display_name=wanted.display_name, active=wanted.active)
    active = member.active if wanted.active is None else wanted.active
    if active is None:
        raise WriteError(
            f"The workspace does not say whether {member.email} is active, so that a full PUT would have to guess.",
            "Look at the member in Pigment.",
        )
    return replace_payload(member, wanted, active)


def _final_error(refused: WriteRefused, *, may_be_applied: bool) -> WriteError:
    """Return *refused*, or a loss where an attempt may have been carried out all the same."""
    if not may_be_applied:
        return refused
    return WriteLost(refused.message, f"The next run sees whether it was made nevertheless. {refused.hint}")


def _is_outdated(answer: ApiResponse, member: Member) -> bool:
    """Return whether the member must be read again: 412, 428 (RFC 6585), or what some servers answer instead (409)."""
    is_version = answer.status == CONFLICT and bool(member.etag) and error_type(answer) != UNIQUENESS
    return answer.status in {PRECONDITION_FAILED, PRECONDITION_REQUIRED} or is_version


def _if_match_version(status: int, member: Member, fresh: Member) -> str:
    """Return what the second attempt sends as `If-Match`, empty: nothing.

    `If-Match` compares strongly (RFC 9110, section 13.1.1), so that a strict server matches no weak version. It is sent
    all the same where the server demands a version and was shown none.
    """
    is_demanded = status == PRECONDITION_REQUIRED and not member.etag
    return fresh.etag if is_demanded or not fresh.etag.startswith(WEAK_PREFIX) else ""


def _member_from_response(answer: ApiResponse) -> Member | None:
    try:
        return member_from_json(answer.json()) if answer.body else None
    except ReadError:
        return None


def _remedy(status: int) -> str:
    if status == NOT_FOUND:
        return "The member may have been removed since it was listed; the next run sees."
    if status == CONFLICT:
        return "Another member has this address. See the next plan."
    if status == FORBIDDEN:
        return (
            "Other requests with this token are answered: only this change is refused. Resolve what the answer names "
            "(a seat limit, the last administrator), in Pigment or at the source."
        )
    if status in RETRYABLE_STATUSES:
        return "Try again later; if it stays, look at Pigment's status page."
    return "Mend what the answer names, at the source or in Pigment (its domain restriction among them)."
