"""A pretend workspace and a client of it, for the contract tests."""

from __future__ import annotations

from datetime import UTC, date, datetime
from urllib.parse import quote

import httpx

from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.pace import Limit, Limiter
from sandbox.pigment.space import PigmentSpace
from sandbox.pigment.switch import Switches
from sandbox.pigment.token import Restriction, Token

GOOD = "good"
AS_ASSUMED = Switches()
OPEN = Restriction()
TEMPLATE = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    "id": "ana@acme.com",
    "userName": "ana@acme.com",
    "displayName": "Ana Lima",
    "name": {"givenName": "Ana", "familyName": "Lima"},
    "emails": [{"value": "ana@acme.com", "primary": True, "type": "work"}],
    "externalId": "42",
}


def a_space(
    switches: Switches = AS_ASSUMED,
    restriction: Restriction = OPEN,
    *,
    members: int = 0,
    at: str = "2026-06-30T23:59:59",
) -> PigmentSpace:
    space = PigmentSpace(
        "latam",
        [Token(GOOD), Token("until-june", date(2026, 7, 1))],
        switches,
        restriction,
        now=lambda: datetime.fromisoformat(at).replace(tzinfo=UTC),
    )
    for number in range(members):
        space.by_hand_create(f"p{number}@acme.com", f"Person {number}", active=number % 7 != 3)
    return space


def a_client(*spaces: PigmentSpace, limiter: Limiter | None = None, token: str = GOOD) -> httpx.AsyncClient:
    app = pigment_app(Pigment(spaces, limiter or Limiter(Limit(None))))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://127.0.0.1/latam/scim/v2",
        headers={"Authorization": f"Bearer {token}"},
    )


def path(member_id: str) -> str:
    return f"/Users/{quote(member_id, safe='')}"


def replace(**values: object) -> dict[str, object]:
    return {"Operations": [{"op": "replace", "path": name, "value": value} for name, value in values.items()]}
