"""Settings of `serve`: its address, and who may use the page and the API."""

from __future__ import annotations

from typing import Annotated

import httpx
from pydantic import AfterValidator, Field, model_validator

from agent.errors import ConfigError
from agent.settings.token import HashedToken, Role
from agent.settings.types import Count, NonEmptyText, StrictModel, Url
from connectors.http import is_loopback
from connectors.secret import Secret

__all__ = ["OidcSettings", "ServerSettings"]


def _validate_token(secret: Secret) -> Secret:
    """Refuse an entry in the file that is not a hashed token; one that is kept elsewhere is checked at start."""
    if (entry := secret.inline_value) is not None:
        try:
            HashedToken.parse(entry)
        except ConfigError:
            raise ValueError(
                "is not a hashed token; create one with: pigment-sync hash-token --role operate NAME"
            ) from None
    return secret


class OidcSettings(StrictModel):
    """Login with the company's own identity provider (OpenID Connect). Needs the extra `oidc`."""

    issuer: Url = Field(description="The issuer, which serves `/.well-known/openid-configuration`.")
    client_id: NonEmptyText = Field(description="The id of the client registered there for pigment-sync.")
    client_secret: Secret = Field(description="The client's secret.")
    scopes: tuple[NonEmptyText, ...] = Field(
        default=("openid", "email", "profile"), description="The scopes to request."
    )
    groups_claim: NonEmptyText = Field(
        default="groups", description="The claim of the ID token that lists a user's groups."
    )
    roles: dict[NonEmptyText, Role] = Field(
        min_length=1,
        description="The role, `read` or `operate`, of the users of each group. Users in none of them may not log in.",
    )


class ServerSettings(StrictModel):
    """Where `serve` listens."""

    host: NonEmptyText = Field(default="127.0.0.1", description="The address to listen on.")
    port: Annotated[Count, Field(le=65535)] = Field(
        default=8080, description="The port to listen on; 0 for a free one."
    )
    public_url: Url | None = Field(
        default=None,
        description="The address of the page for browsers, if an HTTPS proxy serves it. "
        "Other host names are then refused, and cookies are sent over HTTPS only.",
    )
    tokens: tuple[Annotated[Secret, AfterValidator(_validate_token)], ...] = Field(
        default=(),
        description="Hashed tokens for the page and the API, as `pigment-sync hash-token` prints them.",
    )
    oidc: OidcSettings | None = Field(
        default=None, description="Login to the page with an OpenID Connect provider, in addition to tokens."
    )

    @model_validator(mode="after")
    def _validate_exposure(self) -> ServerSettings:
        if not is_loopback(self.host) and not self.tokens and self.oidc is None:
            raise ValueError("host is reachable from other machines: set tokens too, or listen on 127.0.0.1")
        if self.public_url is not None and httpx.URL(self.public_url).path not in {"", "/"}:
            raise ValueError("public_url must have no path: give pigment-sync its own host name")
        if self.oidc is not None and self.public_url is None and not is_loopback(self.host):
            raise ValueError("oidc needs public_url, to which the identity provider redirects")
        return self
