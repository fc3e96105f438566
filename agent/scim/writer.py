"""Write to one member at a time, and verify each write by reading the member afterwards.

response                     create (POST)                               change (PUT, PATCH)
---------------------------  ------------------------------------------  ------------------------------------------
2xx, the member has it       done                                        done
2xx, another id              -                                           done where the old id is gone or the same
2xx without a member         look the email up for 5 s, then WriteLost   GET for 5 s, then NotPersisted
2xx, the member lacks it     GET for 5 s, then NotPersisted              GET for 5 s, then NotPersisted
none, 408, or 5xx            look up; found: done; not: POST again       retried, then WriteLost
a refusal after such a one   WriteLost, unless it is a 409               WriteLost
409                          WriteRefused 409 (the caller looks up)      WriteRefused 409
409 after a lost response    look the email up for 5 s, then WriteLost   -
412, 428                     -                                           GET; unchanged since the listing: again
405, 501                     WriteRefused                                PATCH: the full PUT, from then on directly
429, 403 with `Retry-After`  waited for, then sent again                 the same
403, a GET is accepted       WriteRefused                                WriteRefused
401, other 403               next token, then TokensRefused              the same
other                        WriteRefused                                WriteRefused
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from agent.errors import (
    NotPersisted,
    TokensRefused,
    WorkspaceUnreachable,
    WriteError,
    WriteLost,
    WriteRefused,
    WriteStopped,
)
from agent.model import Fields, Member
from agent.model.server_facts import AS_ASSUMED, ServerFacts
from agent.scim.codec import member_from_json
from agent.scim.endpoint import UNKNOWN_OUTCOME_STATUSES, Endpoint, UpdateResponse, error_type, user_path
from agent.scim.lookup import MemberFinder
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
"""How long the server gets to finish a lost POST before the lookup."""

VERIFY_DELAYS_SECONDS = (0.25, 0.5, 1.0, 1.25, 2.0)
"""Seconds between the checks of an accepted write, 5 in all: reads may lag behind writes."""

SHORT_VERIFY_DELAYS_SECONDS = (5.0,)
MAX_UNVERIFIED = 3
"""After this many accepted writes in a row without effect, further ones are checked twice, not six times."""

UNAVAILABLE_STATUSES = RETRYABLE_STATUSES - {500}
"""Statuses of a failing host. A 500 may concern one member only: the others are tried."""

MAX_UNANSWERED = 3
"""After this many changes in a row without a response, each with all retries, the workspace is unreachable."""


class Writer:
    """Writes to one workspace. Raises only `WriteError`; `WorkspaceUnavailable` when other changes would fail too."""

    def __init__(self, endpoint: Endpoint, finder: MemberFinder, timer: Timer, facts: ServerFacts = AS_ASSUMED) -> None:
        self._endpoint = endpoint
        self._finder = finder
        self._timer = timer
        self._facts = facts
        self._can_patch = True
        self._unanswered_count = 0
        self._unverified_count = 0

    async def create(self, email: str, display_name: str, given_name: str, family_name: str) -> Member:
        """POST an active member. After a lost response, look it up before posting again."""
        wanted = Fields(email, display_name, True)
        body = create_payload(email, display_name, given_name, family_name)
        lost = ""
        for _ in range(MAX_POSTS):
            try:
                response = await self._post(body)
            except WriteStopped as error:
                raise WriteStopped(
                    error.message, error.hint, may_be_applied=error.may_be_applied or bool(lost)
                ) from error
            except TokensRefused as error:
                may_be_made = error.may_be_applied or bool(lost)
                raise TokensRefused(error.message, error.hint, may_be_applied=may_be_made) from error
            if isinstance(response, ApiResponse) and response.status not in UNKNOWN_OUTCOME_STATUSES:
                if lost and response.status == CONFLICT:
                    return await self._resolve_conflict(wanted, lost)
                return await self._verify_created(response, wanted, is_after_loss=bool(lost))
            lost = response if isinstance(response, str) else self._describe(response)
            await self._timer.sleep(SETTLING_SECONDS)
            if member := await self._find_created(wanted, lost):
                return member
        if not isinstance(response, ApiResponse) or response.status in UNAVAILABLE_STATUSES:
            self._count_unanswered(lost)
        raise WriteLost(
            f"{self._endpoint.name} did not confirm that it created {email} ({lost}), and does not list it.",
            "The next run checks again.",
        )

    async def patch(self, member: Member, wanted: Fields) -> Member:
        """PATCH name and state. Falls back to a full PUT where PATCH is not supported or could not be verified."""
        has_unseen_name = wanted.display_name is not None and not has_display_name(member)
        is_known_ineffective = (wanted.display_name is not None and not self._facts.patches_names) or (
            wanted.active is not None and not self._facts.patches_active
        )
        if wanted.email is not None or has_unseen_name or is_known_ineffective or not self._can_patch:
            return await self.replace(member, wanted)
        return await self._update_member("PATCH", member, wanted)

    async def replace(self, member: Member, wanted: Fields) -> Member:
        """PUT the whole member, based on *member* as it was read."""
        return await self._update_member("PUT", member, wanted)

    async def _post(self, body: dict[str, object]) -> ApiResponse | str:
        """Return the response, or the reason why there was none."""
        try:
            return await self._endpoint.post("Users", body)
        except RequestNotSent as error:
            raise self._unreachable_error(str(error)) from error
        except NoResponse as error:
            return str(error)

    async def _verify_created(self, response: ApiResponse, wanted: Fields, *, is_after_loss: bool) -> Member:
        email = wanted.email or ""
        self._track_unanswered(response)
        if not response.is_success:
            refused = self._refused_error(response, f"to the creation of {email}", is_create=True)
            # After a conflict the caller looks up which member has the email.
            raise _final_error(refused, may_be_applied=is_after_loss and refused.status != CONFLICT)
        shown = _member_from_response(response)
        if shown is not None and is_persisted(shown, wanted):
            return shown
        lost = f"response {response.status}{'' if shown else ' without a member'}{response.request_id_label}"

        async def read_member() -> Member | None:
            member = await self._reread_member(shown.scim_id, email) if shown is not None else None
            return member or await self._find_created(wanted, lost)

        try:
            member = await self._await_persisted(read_member, wanted)
        except WriteLost as error:
            raise WriteLost(error.message, error.hint, is_accepted=True) from error
        if member is None:
            raise WriteLost(
                f"{self._endpoint.name} answered {response.status} to the creation of {email} but does not list "
                f"it{response.request_id_label}.",
                "The create is not repeated blindly: the next runs look for the member.",
                is_accepted=True,
            )
        return self._require_persisted(member, wanted, email, label=response.request_id_label)

    async def _await_persisted(
        self, read_member: Callable[[], Awaitable[Member | None]], sent: Fields, formatted: str | None = None
    ) -> Member | None:
        """Check until the member has what was *sent*, for 5 s at most, and return it as last read."""
        member = await read_member()
        for seconds in (
            VERIFY_DELAYS_SECONDS if self._unverified_count < MAX_UNVERIFIED else SHORT_VERIFY_DELAYS_SECONDS
        ):
            if member is not None and is_persisted(member, sent, formatted):
                self._unverified_count = 0
                return member
            await self._timer.sleep(seconds)
            member = await read_member()
        is_unverified = member is None or not is_persisted(member, sent, formatted)
        self._unverified_count = self._unverified_count + 1 if is_unverified else 0
        return member

    async def _resolve_conflict(self, wanted: Fields, lost: str) -> Member:
        """Return the member that a second POST conflicts with: presumably the one that the first POST created."""
        member = await self._await_persisted(lambda: self._find_created(wanted, lost), wanted)
        if member is None:
            raise WriteLost(
                f"{self._endpoint.name} did not confirm that it created {wanted.email} ({lost}), refuses a second "
                "create because the email is taken, and does not list the member that has it.",
                "The create is not repeated blindly: the next runs look for the member.",
                is_accepted=True,
            )
        return member

    async def _find_created(self, wanted: Fields, lost: str) -> Member | None:
        """Return the member that a POST created, None when no member has that email."""
        email = wanted.email or ""
        try:
            found = await self._finder.find(email)
        except ReadError as error:
            raise WriteLost(
                f"{self._endpoint.name} did not confirm that it created {email} ({lost}), and the lookup failed: "
                f"{error.message}",
                "The next run checks again.",
            ) from error
        if len(found) == 1 and is_persisted(found[0], wanted):
            self._unanswered_count = 0
            return found[0]
        if found:
            raise WriteRefused(
                f"{self._endpoint.name} has another member with {email}.",
                "See the next plan.",
                CONFLICT,
                UNIQUENESS,
            )
        return None

    async def _update_member(self, method: str, member: Member, wanted: Fields) -> Member:
        sent = wanted if method == "PATCH" else put_fields(member, wanted)
        update = await self._send_update(method, member, wanted, member.etag)
        if _is_outdated(update.response, member):
            fresh = await self._reread_member(member.scim_id, member.email)
            if fresh is not None and is_persisted(fresh, sent):
                return fresh
            if fresh is None or fresh != member:
                refused = WriteRefused(
                    f"{self._endpoint.name} changed {member.email} since it was "
                    f"listed{update.response.request_id_label}.",
                    "The next run plans with the new state.",
                    update.response.status,
                )
                raise _final_error(refused, may_be_applied=update.may_be_applied)
            version = _if_match_version(update.response.status, member, fresh)
            update = await self._send_update(method, fresh, wanted, version)
        response = update.response
        if method == "PATCH" and response.status in PATCH_UNSUPPORTED_STATUSES:
            self._can_patch = False
            return await self._update_member("PUT", member, wanted)
        if not response.is_success:
            refused = self._refused_error(response, f"to {method} for {member.email}")
            raise _final_error(refused, may_be_applied=update.may_be_applied)
        return await self._verify_updated(response, member, wanted, sent)

    async def _verify_updated(self, response: ApiResponse, member: Member, wanted: Fields, sent: Fields) -> Member:
        """Return the member once it has all that was *sent*, in the response or within 5 s."""
        formatted = expected_formatted(member, sent.display_name)
        shown = _member_from_response(response)
        if shown is not None and shown.scim_id == member.scim_id and is_persisted(shown, sent, formatted):
            return shown
        # Some servers derive ids from the email: the response has the member under another id.
        expected = replace(sent, email=sent.email or member.email)
        renewed = shown.scim_id if shown is not None and is_persisted(shown, expected, formatted) else member.scim_id

        async def read_member() -> Member | None:
            seen = await self._reread_member(member.scim_id, member.email)
            if seen is not None and seen.scim_id in {member.scim_id, renewed}:
                return seen
            if seen is not None:
                return None
            if renewed != member.scim_id:
                found = await self._reread_member(renewed, member.email)
                return found if found is not None and is_persisted(found, expected) else None
            return await self._find_renamed(member, wanted, sent, formatted)

        seen = await self._await_persisted(read_member, sent, formatted)
        label = response.request_id_label
        return self._require_persisted(seen, sent, member.email, formatted, wanted=wanted, label=label)

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
                f"{self._endpoint.name} did not respond to {method} for {member.email} ({error}).",
                "The next run checks whether it took effect.",
            ) from error
        self._track_unanswered(update.response)
        return update

    async def _reread_member(self, scim_id: str, email: str) -> Member | None:
        """Return the member as it is now, with its version, None when it does not exist."""
        try:
            response = await self._endpoint.read(user_path(scim_id), (200, NOT_FOUND))
            member = None if response.status == NOT_FOUND else member_from_json(response.json())
        except ReadError as error:
            raise self._unseen(email, error) from error
        if member is None or member.etag:
            return member
        return replace(member, etag=response.headers.get("etag", ""))

    def _unseen(self, email: str, error: ReadError) -> WriteLost:
        return WriteLost(
            f"{self._endpoint.name} accepted a write to {email}, but reading it back failed: {error.message}",
            "The next run checks it.",
        )

    def _require_persisted(
        self,
        member: Member | None,
        sent: Fields,
        email: str,
        formatted: str | None = None,
        *,
        wanted: Fields | None = None,
        label: str,
    ) -> Member:
        """Return *member*, or raise `NotPersisted` where it lacks what was *sent*. *label* is that of the response."""
        if member is not None and is_persisted(member, sent, formatted):
            return member
        if member is None:
            failure = "does not return the member"
        else:
            missing = missing_fields(member, sent, formatted)
            requested = [name for name in missing if name in missing_fields(member, wanted or sent, formatted)]
            other = [name for name in missing if name not in requested]
            parts = [f"does not return its new {' and '.join(requested)}"] if requested else []
            parts += [f"changed its {' and '.join(other)}, which was not requested"] if other else []
            failure = ", and ".join(parts)
        raise NotPersisted(
            f"{self._endpoint.name} accepted the write to {email} and {failure}{label}.",
            "Check the member in Pigment; if the problem persists, ask Pigment's support.",
        )

    def _refused_error(self, response: ApiResponse, to_what: str, *, is_create: bool = False) -> WriteRefused:
        kind = error_type(response)
        is_taken = is_create and kind == UNIQUENESS and response.status == BAD_REQUEST
        return WriteRefused(
            f"{self._endpoint.name} answered {response.status}{f' {kind}' if kind else ''} {to_what}"
            f"{self._endpoint.api.response_excerpt(response)}{response.request_id_label}.",
            _remedy(TOO_MANY if is_rate_limit(response.status, response.headers) else response.status),
            CONFLICT if is_taken else response.status,
            kind,
        )

    def _track_unanswered(self, response: ApiResponse) -> None:
        if response.status in UNAVAILABLE_STATUSES or is_rate_limit(response.status, response.headers):
            self._count_unanswered(self._describe(response))
        else:
            self._unanswered_count = 0

    def _describe(self, response: ApiResponse) -> str:
        return f"response {response.status}{self._endpoint.api.response_excerpt(response)}{response.request_id_label}"

    def _count_unanswered(self, why: str) -> None:
        self._unanswered_count += 1
        if self._unanswered_count >= MAX_UNANSWERED:
            raise self._unreachable_error(why)

    def _unreachable_error(self, why: str) -> WorkspaceUnreachable:
        return WorkspaceUnreachable(
            f"{self._endpoint.name} is unreachable ({why}); the remaining changes were not tried.",
            "Check the network and Pigment's status page; the next run continues from there.",
        )


def _payload(method: str, member: Member, wanted: Fields) -> dict[str, object]:
    if method == "PATCH":
        return patch_payload(member, display_name=wanted.display_name, active=wanted.active)
    active = member.active if wanted.active is None else wanted.active
    if active is None:
        raise WriteError(
            f"The workspace does not return whether {member.email} is active, and a full PUT must not guess.",
            "Check the member in Pigment.",
        )
    return replace_payload(member, wanted, active)


def _final_error(refused: WriteRefused, *, may_be_applied: bool) -> WriteError:
    """Return *refused*, or a `WriteLost` where an attempt may have been executed nevertheless."""
    if not may_be_applied:
        return refused
    return WriteLost(refused.message, f"The next run checks whether it took effect nevertheless. {refused.hint}")


def _is_outdated(response: ApiResponse, member: Member) -> bool:
    """Return whether the member must be read again: 412, 428 (RFC 6585), or 409, which some servers return instead."""
    is_version = response.status == CONFLICT and bool(member.etag) and error_type(response) != UNIQUENESS
    return response.status in {PRECONDITION_FAILED, PRECONDITION_REQUIRED} or is_version


def _if_match_version(status: int, member: Member, fresh: Member) -> str:
    """Return the `If-Match` of the second attempt, empty for none.

    `If-Match` compares strongly (RFC 9110, section 13.1.1), so a strict server matches no weak version. A weak version
    is still sent where the server demands one and the first attempt had none.
    """
    is_demanded = status == PRECONDITION_REQUIRED and not member.etag
    return fresh.etag if is_demanded or not fresh.etag.startswith(WEAK_PREFIX) else ""


def _member_from_response(response: ApiResponse) -> Member | None:
    try:
        return member_from_json(response.json()) if response.body else None
    except ReadError:
        return None


def _remedy(status: int) -> str:
    if status == NOT_FOUND:
        return "The member may have been removed since it was listed; the next run checks."
    if status == CONFLICT:
        return "Another member has this email. See the next plan."
    if status == FORBIDDEN:
        return (
            "Other requests with this token are accepted: only this change is refused. Resolve the cause "
            "(such as a seat limit or the last administrator), in Pigment or at the source."
        )
    if status in RETRYABLE_STATUSES:
        return "Try again later; if it persists, check Pigment's status page."
    return "Fix the cause in the response, at the source or in Pigment (such as its domain restriction)."
