"""Undocumented behaviour of Pigment's endpoint, as options: each default is the assumed behaviour."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

__all__ = ["OptionError", "WorkspaceOptions", "with_changes"]


class OptionError(ValueError):
    """An option that does not exist, or an invalid value."""


@dataclass(frozen=True, slots=True)
class WorkspaceOptions:
    """How one workspace behaves where Pigment's documents are silent."""

    scim_on: bool = True
    """False: SCIM is switched off, every request is answered 403."""
    page_size: int = 100
    """The largest page, and the page when `count` is not given (1 to 1000)."""
    largest_count: int = 0
    """The largest `count` that is accepted: a larger one gets 400. 0: any, and the page is cut to `page_size`."""
    short_pages: bool = False
    """Some pages hold fewer members than they could."""
    order_stable: bool = True
    """False: each request sees the members in another order."""
    next_cursor: bool = False
    """Pages carry `nextCursor`, and `cursor` is understood (RFC 9865)."""
    empty_resources: Literal["empty", "absent"] = "empty"
    """What `Resources` is when nothing was found."""
    filter_emails: bool = True
    """`emails.value eq` and `emails[type eq "work"].value eq` are supported in addition to `userName eq`."""
    patch_dropped: Literal["200", "204", "400"] = "200"
    """The answer to a PATCH of which something was dropped; with 400 nothing of it is done."""
    patch: Literal["works", "405", "501"] = "works"
    """The answer to any PATCH; with 405 and 501 nothing of it is done."""
    patch_names: Literal["both", "display only", "lost"] = "both"
    """What a PATCH of `displayName` or `name.formatted` does: change the name, do so for `displayName` alone, or
    nothing."""
    patch_email: Literal["dropped", "applied"] = "dropped"
    """What a PATCH of `userName` or of the work email does."""
    patch_active: Literal["boolean or text", "boolean", "lost"] = "boolean or text"
    """How a PATCH may give `active`: a text is refused (400) by "boolean", and nothing changes it where it is lost."""
    put_email: Literal["changed", "400"] = "changed"
    """The answer to a PUT with another email."""
    put_without_active: Literal["keeps", "activates", "clears"] = "keeps"
    """What a PUT without `active` does to it."""
    email_checked: bool = False
    """Email changes are held to the configured domains even while the domain restriction is off."""
    shows_formatted: bool = True
    """`name.formatted` is shown, the same as `displayName`."""
    keeps_name_parts: bool = False
    """`name.givenName` and `name.familyName` are stored when a member is created or replaced."""
    etags: bool = False
    """Members have an ETag, and `If-Match` is held to it (412)."""
    versions: Literal["weak", "strict", "demanded"] = "weak"
    """How ETags are compared. Weak: as they are written. Strict: strongly, so that a weak one never matches (412).
    Demanded: a write without `If-Match` is answered 428, and only the header of a GET of one member shows its ETag."""
    active_as: Literal["boolean", "text"] = "boolean"
    """Members show `active` as true, or as "True"."""
    ids: Literal["uuid", "awkward", "email"] = "uuid"
    """Awkward: new members get ids with slashes, spaces, percent and plus signs in them. Email: the id of a new member
    is its address, and follows it."""
    reads_lag: int = 0
    """Seconds for which reads show a member as it was before its last change, and a new one not at all."""
    writes_shown: bool = True
    """False: a POST is answered 202, a PUT or PATCH 204, without the member."""
    put_active: Literal["heard", "lost"] = "heard"
    """Lost: a PUT leaves the member inactive, whatever its `active` is."""
    byte_order_mark: bool = False
    """Every body begins with U+FEFF, which no JSON needs."""
    filter: Literal["any case", "exact case", "400"] = "any case"
    """How `userName eq` compares, or that it is refused."""
    no_match: Literal["200", "404"] = "200"
    """The answer to a filter that no member matches."""
    total_shown: Literal["number", "text", "page"] = "number"
    """How `totalResults` is shown: right, as a text, or the number of rows on the page."""
    lists_inactive: bool = True
    """False: a listing shows active members only; a filter and a GET show all."""
    same_address: Literal["409", "409 without a type", "same case only"] = "409"
    """The answer to a create with the address of a member. "same case only": another member is created when the case
    differs."""
    keeps_external_id: bool = False
    """`externalId` is stored and shown."""
    domain_refusal: Literal["invalidValue", "403"] = "invalidValue"
    """The answer to an address outside the configured domains."""
    seats: int = 0
    """The number of members that may be active; a create or reactivation beyond it gets 403. 0: no limit."""
    last_admin: str = ""
    """The address of a member whose deactivation gets 403."""
    groups_status: int = 404
    """The answer to anything below `/Groups`."""


def with_changes(options: WorkspaceOptions, changes: Mapping[str, object]) -> WorkspaceOptions:
    """Return *options* with *changes* made. Raise `OptionError` naming the first invalid one."""
    hints = get_type_hints(WorkspaceOptions)
    for name, value in changes.items():
        if name not in hints:
            raise OptionError(f"There is no switch {name!r}; there are {', '.join(sorted(hints))}.")
        _check_value(name, value, hints[name])
    return dataclasses.replace(options, **dict(changes))  # type: ignore[arg-type]  # checked just above


def _check_value(name: str, value: object, hint: object) -> None:
    choices = get_args(hint)
    if choices:
        if value not in choices:
            raise OptionError(f"{name} is one of {', '.join(map(repr, choices))}, not {value!r}.")
    elif type(value) is not hint:
        kind = "true or false" if hint is bool else "text" if hint is str else "a whole number"
        raise OptionError(f"{name} takes {kind}, not {value!r}.")
    elif name in {"reads_lag", "seats", "largest_count"} and isinstance(value, int) and value < 0:
        raise OptionError(f"{name} is 0 or more, not {value!r}.")
    elif name == "page_size" and not (isinstance(value, int) and 1 <= value <= 1000):
        raise OptionError(f"page_size is 1 to 1000, not {value!r}.")
