"""The whole pretend world: a company, the three identity providers that show it, and its Pigment workspaces."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import NAMESPACE_URL, uuid5

from starlette.types import ASGIApp

from sandbox.company import generate_company
from sandbox.entra import Client as EntraClient
from sandbox.entra import EntraTenant, entra_app
from sandbox.faults.action import System
from sandbox.faults.middleware import FaultMiddleware
from sandbox.faults.registry import FaultRegistry
from sandbox.initial_members import WORKSPACES, add_initial_members
from sandbox.key import OktaAppKey, pretend_secret
from sandbox.okta import LOG_SCOPE, READ_SCOPES, OktaOrg, okta_app
from sandbox.okta import ServiceApp as OktaClient
from sandbox.onelogin import Credential, OneLoginAccount, onelogin_app
from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from sandbox.pigment.token import DomainRestriction
from sandbox.pigment.workspace import PigmentWorkspace
from sandbox.request_log import RequestLog, RequestLogMiddleware

__all__ = ["DOMAINS", "KEY_ID", "Environment"]

DOMAINS = ("acme.com",)
KEY_ID = "sandbox"


class Environment:
    """The company and all systems. Read and change it at any time, also while it is served.

    *size* is the approximate number of people in each directory. *limit* is Pigment's rate limit.
    """

    def __init__(self, seed: int, size: int = 120, limit: RateLimit | None = None) -> None:
        self.seed = seed
        self.company = generate_company(seed, size)
        self.okta_key = OktaAppKey(seed)
        self.okta_client_id = f"0oa{pretend_secret(seed, 'okta').rpartition('-')[2]}d7x"
        self.okta = OktaOrg(
            self.company.okta,
            clients=[OktaClient(self.okta_client_id, {KEY_ID: self.okta_key.public_pem}, READ_SCOPES | {LOG_SCOPE})],
            api_tokens=[self.secret("okta-api-token")],
            happenings=self.company.log,
        )
        self.entra_client_id = str(uuid5(NAMESPACE_URL, f"sandbox/entra/client/{seed}"))
        tenant_id = str(uuid5(NAMESPACE_URL, f"sandbox/entra/tenant/{seed}"))
        client = EntraClient(self.entra_client_id, self.secret("entra"))
        self.entra = EntraTenant(self.company.entra, tenant_id, [client], happenings=self.company.log)
        self.onelogin_client_id = pretend_secret(seed, "onelogin-client").rpartition("-")[2]
        self.onelogin = OneLoginAccount(
            self.company.onelogin,
            [Credential(self.onelogin_client_id, self.secret("onelogin"))],
            happenings=self.company.log,
        )
        self.pigment = Pigment(map(self._create_workspace, WORKSPACES), RateLimiter(limit or RateLimit()))
        self.faults = FaultRegistry()
        self.request_log = RequestLog()

    def secret(self, what: str) -> str:
        return pretend_secret(self.seed, what)

    def tokens(self, workspace: str) -> tuple[str, str]:
        """Return the two API tokens of a workspace: both are valid, so that they can be rotated."""
        return self.secret(workspace), self.secret(f"{workspace}-next")

    def apps(self) -> Mapping[str, ASGIApp]:
        """Return an application for each system, wrapped in its faults and its log."""
        plain: dict[System, ASGIApp] = {
            System.OKTA: okta_app(self.okta),
            System.ENTRA: entra_app(self.entra),
            System.ONELOGIN: onelogin_app(self.onelogin),
            System.PIGMENT: pigment_app(self.pigment),
        }
        return {
            system.value: RequestLogMiddleware(
                FaultMiddleware(app, self.faults, system), system.value, self.request_log
            )
            for system, app in plain.items()
        }

    def _create_workspace(self, directory: str) -> PigmentWorkspace:
        name = WORKSPACES[directory]
        workspace = PigmentWorkspace(name, self.tokens(name), restriction=DomainRestriction(on=True, domains=DOMAINS))
        add_initial_members(workspace, self.company.directory(directory))
        workspace.write_log.clear()
        return workspace
