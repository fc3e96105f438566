"""The settings of a OneLogin connector."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from connectors.http import https_root, parse_url
from connectors.provider import FeedSettings, ProviderSettings
from connectors.secret import Secret

__all__ = ["ENTITLED_STATUSES", "OneLoginSettings"]

EntitledStatus = Literal[0, 1, 3, 4, 5, 7, 8]
ENTITLED_STATUSES: frozenset[int] = frozenset(get_args(EntitledStatus))
"""Active (1), a set-up to finish (0, 7), or trouble signing in: locked, password expired, awaiting a reset, security
questions required. None of it is an end of the assignment."""

ACTIVE = 1
EXAMPLE_URL = "https://acme.onelogin.com"
SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.IGNORECASE)


def _validate_subdomain(text: str) -> str:
    if not SUBDOMAIN.fullmatch(text):
        raise ValueError("must be the first part of the account's address alone, as acme for https://acme.onelogin.com")
    return text.lower()


def _validate_api_url(text: str) -> str:
    return https_root(
        parse_url(text, EXAMPLE_URL),
        subject="the account",
        example=EXAMPLE_URL,
        root_message=f"must be the account's root alone, as {EXAMPLE_URL}",
    )


class OneLoginSettings(ProviderSettings):
    """One OneLogin account and an API credential of it with the scope Read All."""

    type: Literal["onelogin"]
    subdomain: Annotated[str, AfterValidator(_validate_subdomain)] | None = Field(
        default=None, description="`acme` for https://acme.onelogin.com."
    )
    api_url: Annotated[str, AfterValidator(_validate_api_url)] | None = Field(
        default=None, description="The account's root, in place of `subdomain`."
    )
    client_id: str = Field(
        min_length=1, pattern=r"^[!-9;-~]+$", description="Client id of an API credential with the scope Read All."
    )
    client_secret: Secret = Field(description="Client secret of the same credential.")
    entitled_statuses: frozenset[EntitledStatus] = Field(
        default=ENTITLED_STATUSES,
        validate_default=True,
        description="OneLogin statuses that permit access.",
    )

    feed: FeedSettings | None = Field(
        default=None,
        description="Look at people soon after OneLogin's events report a change of theirs. Absent: off. Every 15 s "
        "takes 240 of the 5,000 requests an hour that all clients of the account share.",
    )

    @model_validator(mode="after")
    def _require_one_address(self) -> OneLoginSettings:
        if (self.subdomain is None) == (self.api_url is None):
            raise ValueError("set exactly one of subdomain and api_url")
        return self

    @model_validator(mode="after")
    def _require_active_entitled(self) -> OneLoginSettings:
        if ACTIVE not in self.entitled_statuses:
            raise ValueError("entitled_statuses must hold 1 (active): without it no one would be entitled")
        return self

    @property
    def base_url(self) -> str:
        return self.api_url or f"https://{self.subdomain}.onelogin.com"

    @property
    def change_feed(self) -> FeedSettings | None:
        return self.feed
