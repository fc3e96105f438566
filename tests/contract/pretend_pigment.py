"""A pretend workspace and a client of it, for the contract tests."""

from __future__ import annotations

from datetime import UTC, date, datetime
from urllib.parse import quote

import httpx

from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.options import WorkspaceOptions
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from sandbox.pigment.token import DomainRestriction, Token
from sandbox.pigment.workspace import PigmentWorkspace

GOOD = "good"
AS_ASSUMED = WorkspaceOptions()
OPEN = DomainRestriction()
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
    switches: WorkspaceOptions = AS_ASSUMED,
    restriction: DomainRestriction = OPEN,
    *,
    members: int = 0,
    at: str = "2026-06-30T23:59:59",
) -> PigmentWorkspace:
    space = PigmentWorkspace(
        "latam",
        [Token(GOOD), Token("until-june", date(2026, 7, 1))],
        switches,
        restriction,
        now=lambda: datetime.fromisoformat(at).replace(tzinfo=UTC),
    )
    for number in range(members):
        space.admin_create(f"p{number}@acme.com", f"Person {number}", active=number % 7 != 3)
    return space


def a_client(*spaces: PigmentWorkspace, limiter: RateLimiter | None = None, token: str = GOOD) -> httpx.AsyncClient:
    app = pigment_app(Pigment(spaces, limiter or RateLimiter(RateLimit(None))))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://127.0.0.1/latam/scim/v2",
        headers={"Authorization": f"Bearer {token}"},
    )


def path(member_id: str) -> str:
    return f"/Users/{quote(member_id, safe='')}"


def replace(**values: object) -> dict[str, object]:
    return {"Operations": [{"op": "replace", "path": name, "value": value} for name, value in values.items()]}
