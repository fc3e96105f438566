"""Where `serve` listens, and who may use what it shows."""

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
    """Refuse at once what is written into the file and is no hashed token; what is kept elsewhere is seen at start."""
    if (entry := secret.inline_value) is not None:
        try:
            HashedToken.parse(entry)
        except ConfigError:
            raise ValueError(
                "is not a hashed token; make one with: pigment-sync hash-token --role operate NAME"
            ) from None
    return secret


class OidcSettings(StrictModel):
    """Login by the company's own identity provider (OpenID Connect). Needs the extra `oidc`."""

    issuer: Url = Field(description="The issuer, below which `/.well-known/openid-configuration` is found.")
    client_id: NonEmptyText = Field(description="The id of the client that is registered there for pigment-sync.")
    client_secret: Secret = Field(description="The client's secret.")
    scopes: tuple[NonEmptyText, ...] = Field(default=("openid", "email", "profile"), description="What is asked for.")
    groups_claim: NonEmptyText = Field(
        default="groups", description="The claim of the ID token that lists a user's groups."
    )
    roles: dict[NonEmptyText, Role] = Field(
        min_length=1,
        description="The role, `read` or `operate`, of the users of each group. A user of none of them may not log in.",
    )


class ServerSettings(StrictModel):
    """Where `serve` listens."""

    host: NonEmptyText = Field(default="127.0.0.1", description="The address to listen on.")
    port: Annotated[Count, Field(le=65535)] = Field(default=8080, description="The port to listen on; 0: a free one.")
    public_url: Url | None = Field(
        default=None,
        description="How browsers reach the page, where that is through a proxy that speaks HTTPS. "
        "Then other host names are refused and cookies are sent over HTTPS only.",
    )
    tokens: tuple[Annotated[Secret, AfterValidator(_validate_token)], ...] = Field(
        default=(),
        description="Hashed tokens of those who may use the page and the API, "
        "as `pigment-sync hash-token` prints them.",
    )
    oidc: OidcSettings | None = Field(
        default=None, description="Login to the page by an OpenID Connect provider, beside tokens."
    )

    @model_validator(mode="after")
    def _validate_exposure(self) -> ServerSettings:
        if not is_loopback(self.host) and not self.tokens and self.oidc is None:
            raise ValueError("host is reachable from other machines: set tokens too, or listen on 127.0.0.1")
        if self.public_url is not None and httpx.URL(self.public_url).path not in {"", "/"}:
            raise ValueError("public_url must have no path: give pigment-sync a host name of its own")
        if self.oidc is not None and self.public_url is None and not is_loopback(self.host):
            raise ValueError("oidc needs public_url, to which the identity provider sends people back")
        return self
