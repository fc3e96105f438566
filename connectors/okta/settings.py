"""What the configuration says of an Okta connector."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Literal

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from connectors.okta.portrait import ENTITLED
from connectors.secret import Secret

__all__ = ["OktaSettings"]

ADMIN_CONSOLE = re.compile(r"(?P<org>[^.]+)-admin\.(?P<rest>okta(preview|-emea|-gov)?\.com|okta\.mil)")

EntitledStatus = Literal["ACTIVE", "PASSWORD_EXPIRED", "LOCKED_OUT", "RECOVERY", "PROVISIONED", "ACTIVATING", "STAGED"]


def _org_url(text: str) -> str:
    """Return the org's root without a trailing slash; a custom domain is as good as one of Okta's."""
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL:
        raise ValueError("is not a URL; write it as https://acme.okta.com") from None
    if console := ADMIN_CONSOLE.fullmatch(url.host):
        raise ValueError(f"is the admin console; write https://{console['org']}.{console['rest']}")
    if url.scheme not in {"https", "http"} or not url.host:
        raise ValueError("must start with https:// and name the org, as https://acme.okta.com")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ValueError("must start with https:// (http:// is for loopback hosts only)")
    if url.userinfo or url.query or url.fragment or url.path != "/":
        raise ValueError("must be the org's root alone, as https://acme.okta.com")
    return str(url).rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class OktaSettings(BaseModel):
    """One Okta org, and how to prove who we are: an OAuth 2.0 service app's key, or an API token.

    *rate_limit_share* is the part of each rate limit that is left to other clients. *entitled_statuses* are the words
    of Okta for people who may have access; *aliases* the profile fields whose addresses may be adopted by.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["okta"]
    org_url: Annotated[str, AfterValidator(_org_url)]
    client_id: str | None = Field(default=None, min_length=1)
    private_key: Secret | None = None
    kid: str | None = Field(default=None, min_length=1)
    api_token: Secret | None = None
    rate_limit_share: float = Field(default=0.5, ge=0, le=0.95)
    entitled_statuses: frozenset[EntitledStatus] = Field(default=ENTITLED, validate_default=True)
    aliases: frozenset[Literal["secondEmail"]] = frozenset()

    @model_validator(mode="after")
    def _one_credential(self) -> OktaSettings:
        if self.api_token is not None:
            if self.client_id or self.private_key is not None or self.kid:
                raise ValueError("set api_token, or client_id and private_key, not both")
        elif not self.client_id or self.private_key is None:
            raise ValueError("set client_id and private_key (an OAuth 2.0 service app), or api_token")
        return self

    @model_validator(mode="after")
    def _active_is_entitled(self) -> OktaSettings:
        if "ACTIVE" not in self.entitled_statuses:
            raise ValueError("entitled_statuses must hold ACTIVE: without it nobody would be entitled")
        return self
