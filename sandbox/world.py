"""The whole pretend world: a company, the three identity providers that show it, and its Pigment workspaces."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import NAMESPACE_URL, uuid5

from starlette.types import ASGIApp

from sandbox.company import founded
from sandbox.entra import Client as EntraClient
from sandbox.entra import EntraTenant, entra_app
from sandbox.faults.action import System
from sandbox.faults.book import FaultBook
from sandbox.faults.middleware import Faults
from sandbox.key import Key, secret
from sandbox.okta import Client as OktaClient
from sandbox.okta import OktaOrg, okta_app
from sandbox.onelogin import Credential, OneLoginAccount, onelogin_app
from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.pace import Limit, Limiter
from sandbox.pigment.space import PigmentSpace
from sandbox.pigment.token import Restriction
from sandbox.seeding import WORKSPACES, fill
from sandbox.traffic import Traffic, Watched

__all__ = ["DOMAINS", "KEY_ID", "World"]

DOMAINS = ("acme.com",)
KEY_ID = "sandbox"


class World:
    """Everything there is. It may be looked at and changed at any time, also while it is served.

    *size* is how many people each directory has, about. *limit* is Pigment's rate limit.
    """

    def __init__(self, seed: int, size: int = 120, limit: Limit | None = None) -> None:
        self.seed = seed
        self.company = founded(seed, size)
        self.key = Key(seed)
        self.okta_client_id = f"0oa{secret(seed, 'okta').rpartition('-')[2]}d7x"
        self.okta = OktaOrg(
            self.company.okta,
            clients=[OktaClient(self.okta_client_id, {KEY_ID: self.key.public})],
            api_tokens=[self.secret("okta-api-token")],
        )
        self.entra_client_id = str(uuid5(NAMESPACE_URL, f"sandbox/entra/client/{seed}"))
        tenant_id = str(uuid5(NAMESPACE_URL, f"sandbox/entra/tenant/{seed}"))
        client = EntraClient(self.entra_client_id, self.secret("entra"))
        self.entra = EntraTenant(self.company.entra, tenant_id, [client])
        self.onelogin_client_id = secret(seed, "onelogin-client").rpartition("-")[2]
        self.onelogin = OneLoginAccount(
            self.company.onelogin, [Credential(self.onelogin_client_id, self.secret("onelogin"))]
        )
        self.pigment = Pigment(map(self._workspace, WORKSPACES), Limiter(limit or Limit()))
        self.faults = FaultBook()
        self.traffic = Traffic()

    def secret(self, what: str) -> str:
        return secret(self.seed, what)

    def tokens(self, workspace: str) -> tuple[str, str]:
        """Return the two API tokens of a workspace: both are valid, so that they can be rotated."""
        return self.secret(workspace), self.secret(f"{workspace}-next")

    def apps(self) -> Mapping[str, ASGIApp]:
        """Return an application for each system, with its faults and its log in front of it."""
        plain: dict[System, ASGIApp] = {
            System.OKTA: okta_app(self.okta),
            System.ENTRA: entra_app(self.entra),
            System.ONELOGIN: onelogin_app(self.onelogin),
            System.PIGMENT: pigment_app(self.pigment),
        }
        return {
            system.value: Watched(Faults(app, self.faults, system), system.value, self.traffic)
            for system, app in plain.items()
        }

    def _workspace(self, directory: str) -> PigmentSpace:
        name = WORKSPACES[directory]
        space = PigmentSpace(name, self.tokens(name), restriction=Restriction(on=True, domains=DOMAINS))
        fill(space, self.company.directory(directory))
        space.journal.clear()
        return space
