"""The pretend Graph's answers for the whole founded company fit the document derived from Microsoft's CSDL."""

from __future__ import annotations

import httpx
import pytest

from sandbox.company import generate_company
from sandbox.entra import Client, EntraOptions, EntraTenant, entra_app
from tests.contract.pretend_entra import CLIENT, SECRET, TENANT
from tests.contract.vendor_spec import IS_THERE, complaints

USERS = (
    "$select=id,userPrincipalName,mail,displayName,givenName,surname,accountEnabled,userType,otherMails,proxyAddresses"
)
LISTS = [
    ("/servicePrincipals/{id}/appRoleAssignedTo", "$top=2"),
    ("/groups/{id}/members", USERS),
    ("/groups/{id}/members", "$top=5"),
    ("/groups/{id}/members/microsoft.graph.user", "$count=true&$top=3"),
    ("/groups/{id}/transitiveMembers", USERS),
    ("/directory/deletedItems/microsoft.graph.user", "$select=id,userPrincipalName,deletedDateTime"),
]
HERE = LISTS if IS_THERE else []


@pytest.mark.parametrize(("path", "query"), HERE)
async def test_lists_fit_the_document(path: str, query: str) -> None:
    company = generate_company()
    company.delete(next(iter(company.entra.people)))
    tenant = EntraTenant(company.entra, TENANT, [Client(CLIENT, SECRET)], EntraOptions(units=None))
    token = tenant.token_issuer.token_response(CLIENT, "https://graph.microsoft.com")["access_token"]
    headers = {"Authorization": f"Bearer {token}", "ConsistencyLevel": "eventual"}
    keys = [company.entra.pigment.id] if path.startswith("/servicePrincipals") else list(company.entra.groups)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(entra_app(tenant)), base_url="http://127.0.0.1/v1.0", headers=headers
    ) as client:
        for key in keys:
            url: str | None = f"{path.replace('{id}', key)}?{query}"
            while url is not None:
                answer = await client.get(url)
                assert complaints("graph-derived", path, "get", answer.status_code, answer.json()) == []
                assert answer.status_code == 200
                url = answer.json().get("@odata.nextLink")


@pytest.mark.parametrize("status", [401, 403] if IS_THERE else [])
async def test_refusals_fit_the_document(status: int) -> None:
    tenant = EntraTenant(generate_company().entra, TENANT, [Client(CLIENT, SECRET)])
    tenant.roles = frozenset()
    token = tenant.token_issuer.token_response(CLIENT, "https://graph.microsoft.com")["access_token"]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(entra_app(tenant)), base_url="http://127.0.0.1"
    ) as client:
        authorization = {"Authorization": f"Bearer {token}"} if status == 403 else {}
        answer = await client.get("/v1.0/groups/x/members", headers=authorization)
    assert answer.status_code == status
    assert complaints("graph-derived", "/groups/{id}/members", "get", status, answer.json()) == []
