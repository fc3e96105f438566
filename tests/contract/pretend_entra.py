"""A pretend tenant with a small directory, and a client of it, for the contract tests."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import httpx

from sandbox.company import App, Company, Directory, Group, Person
from sandbox.company.directory import StatusWords
from sandbox.entra import Client, EntraOptions, EntraTenant, entra_app

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
SECRET = "s3cret-of-the-app"
GRAPH = "https://graph.microsoft.com/.default"
GENEROUS = EntraOptions(units=None)


@dataclass
class Harness:
    """A tenant with the group `Sales`: *people*, a nested group with one more person, and a device."""

    people: int = 3
    switches: EntraOptions = GENEROUS
    clock: list[float] = field(default_factory=lambda: [1_790_000_000.0])
    certificate: str = ""

    def __post_init__(self) -> None:
        self.directory = Directory("entra", StatusWords("enabled", "disabled", "disabled"), random.Random(7))
        self.company = Company(7, [self.directory], wall=lambda: self.clock[0])
        self.sales: Group = self.directory.add_group("Sales")
        self.inner: Group = self.directory.add_group("Inner")
        self.board: Group = self.directory.add_group("Board")
        self.app: App = self.directory.add_app("Pigment EU", (self.sales, self.board))
        self.staff: list[Person] = [
            self.company.hire("entra", f"Ann{number}", "Ek", ["Sales"]) for number in range(self.people)
        ]
        self.nested: Person = self.company.hire("entra", "Nils", "Inner", ["Inner"])
        self.sales.groups.append(self.inner.id)
        self.inner.groups.append(self.sales.id)
        self.sales.devices.append("0107d1b2-0402-4ef9-a58c-eb0661c5d596")
        client = Client(CLIENT, "" if self.certificate else SECRET, self.certificate)
        self.tenant = EntraTenant(
            self.directory, TENANT, [client], self.switches, now=lambda: self.clock[0], happenings=self.company.log
        )

    def client(self, *, authorised: bool = True) -> httpx.AsyncClient:
        token = str(self.tenant.token_issuer.token_response(CLIENT, "https://graph.microsoft.com")["access_token"])
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(entra_app(self.tenant)),
            base_url="http://127.0.0.1:8080/v1.0",
            headers={"Authorization": f"Bearer {token}"} if authorised else {},
        )

    def members_path(self, rest: str = "") -> str:
        return f"/groups/{self.sales.id}/members{rest}"


async def rows(client: httpx.AsyncClient, path: str, headers: dict[str, str] | None = None) -> list[dict[str, object]]:
    """Return the rows of all pages."""
    found: list[dict[str, object]] = []
    url: str | None = path
    while url is not None:
        answer = await client.get(url, headers=headers)
        assert answer.status_code == 200, answer.text
        found += answer.json()["value"]
        url = answer.json().get("@odata.nextLink")
    return found


def code(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and Graph's word of an error."""
    return answer.status_code, str(answer.json()["error"]["code"])
