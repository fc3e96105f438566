"""One pretend Okta org: its directory, its clients, its limits and options."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

from sandbox.company import App, Directory, Group, Person
from sandbox.company.events import EventLog
from sandbox.okta.dpop import ProofRequest, ProofVerifier
from sandbox.okta.errors import not_found
from sandbox.okta.system_log import SystemLog
from sandbox.okta.token import ServiceApp, TokenIssuer
from sandbox.quota import Quota, QuotaState

__all__ = ["FREE", "GENEROUS", "WORKFORCE", "AppAssignment", "OktaOptions", "OktaOrg", "RateLimits"]

DEPROVISIONED = "DEPROVISIONED"


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests a minute for one token, by bucket (okta.com, Rate limits): half of the org's limits."""

    apps: int = 5000
    """`/api/v1/apps` and everything under `/api/v1/apps/{id}/`."""
    app: int = 5000
    """`/api/v1/apps/{id}`."""
    groups: int = 5000
    """`/api/v1/groups`."""
    group: int = 5000
    """`/api/v1/groups/{id}`."""
    users: int = 5000
    """`/api/v1/users`."""
    token: int = 5000
    """`/oauth2/v1/token`."""
    logs: int = 5000
    """`/api/v1/logs`."""
    other: int = 5000
    """The rest of `/api/v1`, so also `/api/v1/groups/{id}/users`."""


GENEROUS = RateLimits()
WORKFORCE = RateLimits(apps=50, app=250, groups=250, group=500, users=300, token=150, logs=60, other=600)
FREE = RateLimits(apps=10, app=50, groups=50, group=50, users=50, token=150, logs=10, other=50)


@dataclass(frozen=True, slots=True)
class OktaOptions:
    """Behaviour that differs between real orgs."""

    lists_deprovisioned: bool = False
    """Deactivated people stay in the application's list of people."""
    takes_tight_ssws: bool = False
    """`SSWSabc` is accepted as `SSWS abc`, as Okta does and as the okta SDK since 3.0 sends it."""


@dataclass(frozen=True, slots=True)
class AppAssignment:
    """A person who is assigned to an application: *group* is the id of the one that Okta names, None when direct."""

    person: Person
    group: str | None


class OktaOrg:
    """An org. *now* returns seconds since 1970, for tokens, rate limits and cursors."""

    def __init__(
        self,
        directory: Directory,
        *,
        clients: Iterable[ServiceApp] = (),
        api_tokens: Iterable[str] = (),
        limits: RateLimits = GENEROUS,
        now: Callable[[], float] = time.time,
        happenings: EventLog | None = None,
    ) -> None:
        self.directory = directory
        self.now = now
        self.system_log = SystemLog(directory, happenings or EventLog(now))
        self.token_issuer = TokenIssuer(now)
        # Okta documents a nonce for token requests, and none yet for its API.
        self.token_proofs = ProofVerifier(now, requires_nonce=True)
        self.api_proofs = ProofVerifier(now, requires_nonce=False)
        for client in clients:
            self.token_issuer.add(client)
        self.api_tokens = set(api_tokens)
        self.options = OktaOptions()
        self.cursor_age = 0
        self._quotas: dict[str, Quota] = {}
        self.set_rate_limits(limits)

    def set_rate_limits(self, limits: RateLimits) -> None:
        """Set the requests a minute."""
        self._quotas = {bucket.name: Quota(getattr(limits, bucket.name), 60, self.now) for bucket in fields(limits)}

    def count_request(self, bucket: str) -> QuotaState:
        return self._quotas[bucket].count_request()

    def expire_cursors(self) -> None:
        """Expire every `next` link so far: it leads to `E0000029`."""
        self.cursor_age += 1

    def is_allowed(self, authorization: str, scope: str, proof: ProofRequest) -> bool | None:
        """Return whether this `Authorization` header grants *scope*; None when it is not a credential of this org.

        Raise `ProofError` for a token that is bound to a key, if *proof* does not show the possession of that key.
        """
        kind, _, secret = authorization.partition(" ")
        if kind == "SSWS" and secret in self.api_tokens:
            return True
        if self.options.takes_tight_ssws and authorization.removeprefix("SSWS") in self.api_tokens:
            return True
        found = self.token_issuer.find_token(secret)
        # A bound token is no bearer token (RFC 9449, section 7.2), and a bearer token proves nothing.
        if found is None or kind != ("Bearer" if found.thumbprint is None else "DPoP"):
            return None
        if found.thumbprint is not None:
            self.api_proofs.verify(proof, secret, found.thumbprint)
        return scope in found.scopes

    def app(self, key: str) -> App:
        if key not in self.directory.apps:
            raise not_found("AppInstance", key)
        return self.directory.apps[key]

    def group(self, key: str) -> Group:
        if key not in self.directory.groups:
            raise not_found("UserGroup", key)
        return self.directory.groups[key]

    def person(self, key: str) -> Person:
        """Return the person with this id or login."""
        person = self.directory.person(key)
        if person is None:
            raise not_found("User", key)
        return person

    def app_assignments(self, app: App) -> Iterator[AppAssignment]:
        """Yield the assignments to *app*. A direct assignment wins over those through groups."""
        for key, groups in self.directory.assignments(app).items():
            person = self.directory.people[key]
            if person.status != DEPROVISIONED or self.options.lists_deprovisioned:
                yield AppAssignment(person, None if key in app.individuals else groups[0])
