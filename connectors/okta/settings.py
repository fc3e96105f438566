"""What the configuration says of an Okta connector."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from connectors.http import is_loopback, validate_host
from connectors.okta.mapping import ENTITLED_STATUSES
from connectors.secret import Secret

__all__ = ["OktaSettings"]

ADMIN_CONSOLE_HOST = re.compile(r"(?P<org>[^.]+)-admin\.(?P<rest>okta(preview|-emea|-gov)?\.com|okta\.mil)")

EntitledStatus = Literal["ACTIVE", "PASSWORD_EXPIRED", "LOCKED_OUT", "RECOVERY", "PROVISIONED", "ACTIVATING", "STAGED"]


def _validate_org_url(text: str) -> str:
    """Return the org's root without a trailing slash; a custom domain is as good as one of Okta's."""
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL:
        raise ValueError("is not a URL; write it as https://acme.okta.com") from None
    if console := ADMIN_CONSOLE_HOST.fullmatch(url.host):
        raise ValueError(f"is the admin console; write https://{console['org']}.{console['rest']}")
    if url.scheme not in {"https", "http"} or not url.host:
        raise ValueError("must start with https:// and name the org, as https://acme.okta.com")
    if url.scheme == "http" and not is_loopback(url.host):
        raise ValueError("must start with https:// (http:// is for loopback hosts only)")
    validate_host(url)
    if url.userinfo or url.query or url.fragment or url.path != "/":
        raise ValueError("must be the org's root alone, as https://acme.okta.com")
    return f"{url.scheme}://{url.netloc.decode()}"


class OktaSettings(BaseModel):
    """One Okta org, and how to prove who we are: an OAuth 2.0 service app's key, or an API token."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["okta"] = Field(description="Okta.")
    org_url: Annotated[str, AfterValidator(_validate_org_url)] = Field(
        description="The org's root, as https://acme.okta.com."
    )
    client_id: str | None = Field(default=None, min_length=1, description="OAuth 2.0 service app (private_key_jwt).")
    private_key: Secret | None = Field(default=None, description="The service app's key, RSA or EC, as PEM.")
    kid: str | None = Field(default=None, min_length=1, description="The key's id in Okta, if the app has several.")
    api_token: Secret | None = Field(default=None, description="Instead of client_id and private_key.")
    rate_limit_share: float = Field(
        default=0.5, ge=0, le=0.95, description="The part of each rate limit that is left to other clients."
    )
    entitled_statuses: frozenset[EntitledStatus] = Field(
        default=ENTITLED_STATUSES, validate_default=True, description="Okta's statuses of people who may have access."
    )
    aliases: frozenset[Literal["secondEmail"]] = Field(
        default=frozenset(),
        description="Profile fields whose address may match a member. People can type secondEmail in themselves.",
    )

    @model_validator(mode="after")
    def _require_one_credential(self) -> OktaSettings:
        if self.api_token is not None:
            if self.client_id or self.private_key is not None or self.kid:
                raise ValueError("set api_token, or client_id and private_key, not both")
        elif not self.client_id or self.private_key is None:
            raise ValueError("set client_id and private_key (an OAuth 2.0 service app), or api_token")
        return self

    @model_validator(mode="after")
    def _require_active_entitled(self) -> OktaSettings:
        if "ACTIVE" not in self.entitled_statuses:
            raise ValueError("entitled_statuses must hold ACTIVE: without it nobody would be entitled")
        return self
