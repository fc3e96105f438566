"""Faults work in front of the pretend systems themselves: their cursors and links are not made for faults."""

from __future__ import annotations

import httpx
import pytest

from sandbox.entra import entra_app
from sandbox.faults.action import System
from sandbox.faults.middleware import FaultMiddleware
from sandbox.faults.parse import parse_rules
from sandbox.faults.registry import FaultRegistry
from sandbox.okta import okta_app
from sandbox.onelogin import onelogin_app
from tests.contract.pretend_directories import ACCOUNT, ORG, PretendOkta, PretendOneLogin
from tests.contract.pretend_entra import Harness


class Walk:
    """One system behind faults, and how a simple client walks a list of it."""

    def __init__(self, system: System, *rows: dict[str, object]) -> None:
        self.system = system
        self.book = FaultRegistry()
        self._okta, self._onelogin, self._office = PretendOkta(), PretendOneLogin(), Harness(people=12)
        apps = {
            System.OKTA: lambda: okta_app(self._okta.org),
            System.ENTRA: lambda: entra_app(self._office.tenant),
            System.ONELOGIN: lambda: onelogin_app(self._onelogin.account),
        }
        base = {System.OKTA: ORG, System.ENTRA: "http://127.0.0.1:8080", System.ONELOGIN: ACCOUNT}[system]
        transport = httpx.ASGITransport(FaultMiddleware(apps[system](), self.book, system))
        self.http = httpx.AsyncClient(transport=transport, base_url=base)
        self.rules = parse_rules({"faults": list(rows)})

    async def ids(self, most: int = 40) -> tuple[list[str], list[str]]:
        """Return the ids in the order in which they came, and the addresses of the pages, *most* at most."""
        url = await self._signed_in()
        self.book.put(self.rules)
        seen: list[str] = []
        urls: list[str] = []
        while url and len(urls) < most:
            urls.append(url)
            answer = (await self.http.get(url)).raise_for_status()
            document = answer.json()
            rows = document["value"] if isinstance(document, dict) else document
            seen += [str(row["id"]) for row in rows]
            url = self._next(answer)
        return seen, urls

    async def _signed_in(self) -> str:
        if self.system is System.OKTA:
            self.http.headers["Authorization"] = "SSWS api-token"
            return f"/api/v1/apps/{self._okta.app.id}/users?limit=30"
        if self.system is System.ENTRA:
            self.http.headers.update(self._office.client().headers)
            return f"/v1.0{self._office.members_path('?$select=id,mail&$top=4')}"
        await self._onelogin.sign_in()
        self.http.headers["Authorization"] = self._onelogin.http.headers["Authorization"]
        return f"/api/2/apps/{self._onelogin.app.id}/users?limit=30"

    def _next(self, answer: httpx.Response) -> str:
        if self.system is System.ENTRA:
            return str(answer.json().get("@odata.nextLink", ""))
        if self.system is System.OKTA:
            return str(answer.links.get("next", {}).get("url", ""))
        cursor = answer.headers.get("after-cursor")
        return f"/api/2/apps/{self._onelogin.app.id}/users?cursor={cursor}" if cursor else ""


LINKED = [System.OKTA, System.ENTRA, System.ONELOGIN]


@pytest.mark.parametrize("system", LINKED)
@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_simple_walk_survives_an_empty_page(system: System, at: int) -> None:
    whole, pages = await Walk(system).ids()
    found, more = await Walk(system, {"do": "empty-page", "at": at}).ids()
    assert found == whole
    assert len(more) == len(pages) + 1 > 3


@pytest.mark.parametrize("system", LINKED)
@pytest.mark.parametrize("word", ["repeated-cursor", "endless-pages"])
async def test_a_simple_walk_never_ends(system: System, word: str) -> None:
    _, urls = await Walk(system, {"do": word, "start": 2}).ids(most=10)
    assert len(urls) == 10
    assert (len(set(urls)) == 10) is (word == "endless-pages")


@pytest.mark.parametrize("system", LINKED)
async def test_drift_hides_exactly_one_person_from_a_simple_walk(system: System) -> None:
    whole, _ = await Walk(system).ids()
    found, _ = await Walk(system, {"do": "drift", "at": 2}).ids()
    assert len(set(whole) - set(found)) == 1
    assert len(found) == len(whole) - 1
