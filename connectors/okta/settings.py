"""The settings of an Okta connector."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from connectors.http import https_root, parse_url
from connectors.okta.mapping import ENTITLED_STATUSES
from connectors.provider import FeedSettings, ProviderSettings
from connectors.secret import Secret

__all__ = ["OktaSettings"]

EXAMPLE_URL = "https://acme.okta.com"
ADMIN_CONSOLE_HOST = re.compile(r"(?P<org>[^.]+)-admin\.(?P<rest>okta(preview|-emea|-gov)?\.com|okta\.mil)")

EntitledStatus = Literal["ACTIVE", "PASSWORD_EXPIRED", "LOCKED_OUT", "RECOVERY", "PROVISIONED", "ACTIVATING", "STAGED"]


def _validate_org_url(text: str) -> str:
    """Return the org's root without a trailing slash; a custom domain is as good as one of Okta's."""
    url = parse_url(text, EXAMPLE_URL)
    if console := ADMIN_CONSOLE_HOST.fullmatch(url.host):
        raise ValueError(f"is the admin console; write https://{console['org']}.{console['rest']}")
    return https_root(
        url, subject="the org", example=EXAMPLE_URL, root_message=f"must be the org's root alone, as {EXAMPLE_URL}"
    )


class OktaSettings(ProviderSettings):
    """One Okta org and its credential: the key of an OAuth 2.0 service app, or an API token."""

    type: Literal["okta"] = Field(description="Okta.")
    org_url: Annotated[str, AfterValidator(_validate_org_url)] = Field(
        description="The org's root, such as https://acme.okta.com."
    )
    client_id: str | None = Field(default=None, min_length=1, description="OAuth 2.0 service app (private_key_jwt).")
    private_key: Secret | None = Field(default=None, description="The service app's key, RSA or EC, as PEM.")
    kid: str | None = Field(default=None, min_length=1, description="The key's id in Okta, if the app has several.")
    dpop: bool = Field(
        default=False,
        description="Bind access tokens to a key of this process (DPoP), as new service apps require by default.",
    )
    api_token: Secret | None = Field(default=None, description="Instead of client_id and private_key.")
    rate_limit_share: float = Field(
        default=0.5, ge=0, le=0.95, description="Share of each rate limit left to other clients."
    )
    entitled_statuses: frozenset[EntitledStatus] = Field(
        default=ENTITLED_STATUSES, validate_default=True, description="Okta statuses that permit access."
    )
    aliases: frozenset[Literal["secondEmail"]] = Field(
        default=frozenset(),
        description="Profile fields whose address may match a member. People can edit secondEmail themselves.",
    )

    feed: FeedSettings | None = Field(
        default=None,
        description="Look at people soon after Okta's System Log reports a change of theirs. Absent: off. The service "
        "app then also needs the scope okta.logs.read.",
    )

    @model_validator(mode="after")
    def _require_one_credential(self) -> OktaSettings:
        if self.api_token is not None:
            if self.client_id or self.private_key is not None or self.kid:
                raise ValueError("set api_token, or client_id and private_key, not both")
            if self.dpop:
                raise ValueError("dpop needs client_id and private_key: an api_token can't be bound to a key")
        elif not self.client_id or self.private_key is None:
            raise ValueError("set client_id and private_key (an OAuth 2.0 service app), or api_token")
        return self

    @model_validator(mode="after")
    def _require_active_entitled(self) -> OktaSettings:
        if "ACTIVE" not in self.entitled_statuses:
            raise ValueError("entitled_statuses must hold ACTIVE: without it no one would be entitled")
        return self

    @property
    def base_url(self) -> str:
        return self.org_url

    @property
    def change_feed(self) -> FeedSettings | None:
        return self.feed
