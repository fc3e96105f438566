"""Describe edits of links: "Link ann@acme.com to okta-main:00u1, previously okta-main:00u2"."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from agent.model import Link
from agent.model.run import LinkEdit

__all__ = ["describe_link_edits", "link_edits_digest"]


def describe_link_edits(edits: Sequence[LinkEdit], emails: Mapping[str, str], *, is_done: bool) -> list[str]:
    """Return a sentence for each of *edits*. A member without an email in *emails* (by SCIM id) is shown by its id.

    The sentences have external text in them as it is.
    """
    return [_describe(edit, emails, "ed" if is_done else "") for edit in edits]


def link_edits_digest(edits: Sequence[LinkEdit]) -> str:
    """Return the digest of *edits*: whose link each member gets, and whose it had."""
    sides = [
        [[link.scim_id, link.person.connector, link.person.id] if link else None for link in (edit.link, edit.previous)]
        for edit in edits
    ]
    return hashlib.sha256(json.dumps(sides).encode()).hexdigest()


def _describe(edit: LinkEdit, emails: Mapping[str, str], ending: str) -> str:
    link, previous = edit.link, edit.previous
    if link is None:
        return f"Unlink{ending} {_describe_link(previous, emails, 'from')}" if previous else ""
    before = f", previously {previous.person.connector}:{previous.person.id}" if previous else ""
    return f"Link{ending} {_describe_link(link, emails, 'to')}{before}"


def _describe_link(link: Link, emails: Mapping[str, str], preposition: str) -> str:
    member = emails.get(link.scim_id, f"member {link.scim_id}")
    return f"{member} {preposition} {link.person.connector}:{link.person.id}"
