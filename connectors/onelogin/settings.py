"""What the configuration says of a OneLogin connector."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from connectors.http import is_loopback, validate_host
from connectors.onelogin.mapping import ENTITLED_STATUSES
from connectors.secret import Secret

__all__ = ["OneLoginSettings"]

EntitledStatus = Literal[0, 1, 3, 4, 5, 7, 8]
ACTIVE = 1
SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.IGNORECASE)


def _validate_subdomain(text: str) -> str:
    if not SUBDOMAIN.fullmatch(text):
        raise ValueError("must be the first part of the account's address alone, as acme for https://acme.onelogin.com")
    return text.lower()


def _validate_api_url(text: str) -> str:
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL:
        raise ValueError("is not a URL; write it as https://acme.onelogin.com") from None
    if url.scheme not in {"https", "http"} or not url.host:
        raise ValueError("must start with https:// and name the account, as https://acme.onelogin.com")
    if url.scheme == "http" and not is_loopback(url.host):
        raise ValueError("must start with https:// (http:// is for loopback hosts only)")
    validate_host(url)
    if url.userinfo or url.query or url.fragment or url.path != "/":
        raise ValueError("must be the account's root alone, as https://acme.onelogin.com")
    return str(url).rstrip("/")


class OneLoginSettings(BaseModel):
    """One OneLogin account and an API credential of it with the scope Read All."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["onelogin"]
    subdomain: Annotated[str, AfterValidator(_validate_subdomain)] | None = Field(
        default=None, description="`acme` for https://acme.onelogin.com."
    )
    api_url: Annotated[str, AfterValidator(_validate_api_url)] | None = Field(
        default=None, description="The account's root, in place of `subdomain`."
    )
    client_id: str = Field(
        min_length=1, pattern=r"^[!-9;-~]+$", description="Of an API credential with the scope Read All."
    )
    client_secret: Secret = Field(description="Of the same credential.")
    entitled_statuses: frozenset[EntitledStatus] = Field(
        default=ENTITLED_STATUSES,
        validate_default=True,
        description="OneLogin's statuses of people who may have access.",
    )

    @model_validator(mode="after")
    def _require_one_address(self) -> OneLoginSettings:
        if (self.subdomain is None) == (self.api_url is None):
            raise ValueError("set exactly one of subdomain and api_url")
        return self

    @model_validator(mode="after")
    def _require_active_entitled(self) -> OneLoginSettings:
        if ACTIVE not in self.entitled_statuses:
            raise ValueError("entitled_statuses must hold 1 (active): without it nobody would be entitled")
        return self

    @property
    def base_url(self) -> str:
        return self.api_url or f"https://{self.subdomain}.onelogin.com"
