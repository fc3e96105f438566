"""Every fault of the sandbox for every system: the result of a read, as documented in `docs/faults-and-answers.md`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CELLS", "LISTS", "SYSTEMS", "WORKSPACES", "Cell"]

SYSTEMS = ("okta", "entra", "onelogin", "pigment")
WORKSPACES = {
    "okta": "pigment-latam",
    "entra": "pigment-eu",
    "onelogin": "pigment-apac",
    "pigment": "pigment-latam",
}
# The list from which absence is concluded: what is missing there is what would be deactivated.
LISTS = {
    "okta": "/api/v1/apps/*/users",
    "entra": "/v1.0/groups/*/members",
    "onelogin": "/api/2/roles/*/users",
    "pigment": "/pigment-latam/*",
}

SECOND = {"query": "*startIndex=101*"}
EVERYWHERE = {"okta": 6, "entra": 6, "onelogin": 6, "pigment": 6}
NOWHERE = {"okta": 0, "entra": 0, "onelogin": 0, "pigment": 0}


@dataclass(frozen=True, slots=True)
class Cell:
    """A fault, and the exit code of a read that meets it, for each system that has it.

    *fault* is as in a file of faults. *patient*: with a retry; else with none, for faults that stay.
    """

    name: str
    fault: Mapping[str, object]
    exits: Mapping[str, int]
    patient: bool = False


def _once(name: str, **fault: object) -> Cell:
    return Cell(f"{name}, once", {**fault, "times": 1}, NOWHERE, patient=True)


def _stays(name: str, exits: Mapping[str, int] = EVERYWHERE, **fault: object) -> Cell:
    return Cell(name, fault, exits)


def _but(**exits: int) -> dict[str, int]:
    return {**EVERYWHERE, **exits}


CELLS = (
    _once("429", do="status", status=429, headers={"Retry-After": "0"}),
    _once("500", do="status", status=500),
    _once("503", do="status", status=503),
    _once("a gateway's page", do="html", status=502),
    _once("522", do="html", status=522),
    _once("408", do="status", status=408),
    _once("no connection", do="disconnect"),
    _once("a reset", do="reset"),
    _once("slow, within the timeout", do="slow", seconds=0.3),
    _once("more than one request at a time refused", do="concurrency"),
    _once("an empty page with a next link", do="empty-page"),
    _stays("429 that stays", do="status", status=429),
    _stays("429 that punishes early retries", do="early-retry", seconds=30.0),
    _stays("500 that stays", do="status", status=500),
    _stays("503 that stays", do="status", status=503),
    _stays("a gateway's page that stays", do="html", status=504),
    _stays("a gateway's page with status 200", do="html", status=200),
    _stays("400", do="status", status=400),
    _stays("403", do="status", status=403),
    _stays("404", do="status", status=404),
    _stays("a revoked token", do="revoke-token"),
    _stays("no connection that comes back", do="disconnect"),
    _stays("resets that stay", do="reset"),
    _stays("slower than the timeout", do="slow", seconds=4.0),
    _stays("half of the body", do="truncated"),
    _stays("most of the body", do="truncated", keep=0.97),
    _stays("no JSON", do="invalid-json"),
    _stays("JSON of another shape", do="invalid-json", text='{"ok": true}'),
    # For Okta that is an empty list of people: its groups still have people, so their assignment is pending.
    _stays("an empty array", _but(okta=0), do="invalid-json", text="[]"),
    _stays("no body", do="no-body"),
    _stays("status 200 without a body", do="no-body", status=200),
    _stays("odd headers", NOWHERE, do="headers", headers={"Server": "", "X-Odd": "1"}),
    _stays("headers that occur twice", NOWHERE, do="doubled-headers", names="*"),
    _stays("a body without end", do="huge-body", size=2**27),
    _stays("arrays in arrays", do="deep-json"),
    _stays("a cursor that comes again", do="repeated-cursor"),
    Cell("a cursor that is percent-encoded", {"do": "encoded-cursor"}, {"onelogin": 0}),
    # OneLogin's next page is a cursor, its link is not followed.
    Cell("a link to another origin", {"do": "foreign-link"}, {"okta": 6, "entra": 6, "onelogin": 0}),
    Cell("the first page again and again", {"do": "first-page-again"}, {"pigment": 6}),
    Cell("a total that is one too high", {"do": "wrong-total"}, {"entra": 0, "onelogin": 6, "pigment": 6}),
    Cell("a total that is one too low", {"do": "wrong-total", "by": -1}, {"entra": 0, "onelogin": 0, "pigment": 6}),
    _stays("rows that come twice", {**NOWHERE, "pigment": 6}, do="duplicate-rows"),
    # Before the second page of the list: before the first page there are no people who could come or go.
    Cell("a person leaves the list while it is read, once", {"do": "drift", "at": 2}, {"pigment": 0}),
    Cell("a person leaves the list each time it is read", {"do": "drift", **SECOND}, {"pigment": 6}),
    Cell("a person joins the list while it is read, once", {"do": "drift", "kind": "added", "at": 2}, {"pigment": 0}),
    Cell("a person joins the list each time it is read", {"do": "drift", "kind": "added", **SECOND}, {"pigment": 6}),
    # Of a role OneLogin is asked for ids alone.
    _stays("a missing permission", _but(onelogin=0), do="nulls"),
    _stays("a missing permission, ids too", do="nulls", ids=True),
    _stays("one odd row", NOWHERE, do="nulls", rows="first"),
    _stays("one odd row, its id too", {**NOWHERE, "pigment": 6}, do="nulls", rows="first", ids=True),
    _stays("an expired cursor", do="expired-cursor"),
)
