"""The settings of an Entra connector."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from connectors.http import https_root, parse_url
from connectors.provider import FeedSettings, ProviderSettings
from connectors.secret import Secret

__all__ = ["EntraSettings"]

EXAMPLE_URL = "https://graph.example.com"
Cloud = Literal["global", "usgov", "usgov-dod", "china"]

AUTHORITY_URLS: dict[Cloud, str] = {
    "global": "https://login.microsoftonline.com",
    "usgov": "https://login.microsoftonline.us",
    "usgov-dod": "https://login.microsoftonline.us",
    "china": "https://login.chinacloudapi.cn",
}
GRAPH_URLS: dict[Cloud, str] = {
    "global": "https://graph.microsoft.com",
    "usgov": "https://graph.microsoft.us",
    "usgov-dod": "https://dod-graph.microsoft.us",
    "china": "https://microsoftgraph.chinacloudapi.cn",
}
SHARED_TENANTS = frozenset({"common", "organizations", "consumers"})


def _validate_root_url(text: str) -> str:
    return https_root(
        parse_url(text, EXAMPLE_URL),
        subject="a host",
        example=EXAMPLE_URL,
        root_message="must be the root alone, without /v1.0 and without the tenant",
    )


def _validate_tenant(text: str) -> str:
    if text.lower() in SHARED_TENANTS:
        raise ValueError("must be your own tenant: its id, or a domain of it as acme.onmicrosoft.com")
    return text


RootUrl = Annotated[str, AfterValidator(_validate_root_url)]
ClientId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


class EntraSettings(ProviderSettings):
    """One Entra tenant and its credential: a secret, a certificate, or the identity of the Azure machine."""

    type: Literal["entra"] = Field(description="Microsoft Entra ID.")
    tenant_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,100}$"), AfterValidator(_validate_tenant)] = Field(
        description="The tenant id, or a domain of the tenant."
    )
    client_id: ClientId | None = Field(
        default=None,
        description="The app registration's application id. With managed_identity: the client id of a user-assigned "
        "identity; without it, the machine's own identity is used.",
    )
    client_secret: Secret | None = Field(default=None, description="A client secret of the app registration.")
    certificate: Secret | None = Field(
        default=None, description="Instead of client_secret: PEM with an RSA key and its certificate."
    )
    managed_identity: bool = Field(
        default=False, description="Instead of client_secret: the managed identity of the Azure machine."
    )
    cloud: Cloud = Field(default="global", description="The Microsoft cloud of the tenant.")
    graph_url: RootUrl | None = Field(
        default=None, description="In place of the cloud's Graph: its root, without /v1.0."
    )
    authority_url: RootUrl | None = Field(
        default=None, description="In place of the cloud's sign-in: its root, without the tenant."
    )
    feed: FeedSettings | None = Field(
        default=None,
        description="Look at people soon after Graph's delta queries report a change of theirs. Absent: off. It needs "
        "no further permission.",
    )

    @model_validator(mode="after")
    def _require_one_credential(self) -> EntraSettings:
        given = [self.client_secret is not None, self.certificate is not None, self.managed_identity]
        if sum(given) != 1:
            raise ValueError("set exactly one of client_secret, certificate and managed_identity: true")
        if self.client_id is None and not self.managed_identity:
            raise ValueError("set client_id, the application id of the app registration")
        return self

    @property
    def graph_root(self) -> str:
        return self.graph_url or GRAPH_URLS[self.cloud]

    @property
    def base_url(self) -> str:
        return self.graph_root

    @property
    def tenant(self) -> str:
        return self.tenant_id.lower()

    @property
    def change_feed(self) -> FeedSettings | None:
        return self.feed

    @property
    def authority_root(self) -> str:
        return self.authority_url or AUTHORITY_URLS[self.cloud]

    @property
    def token_resource(self) -> str:
        """Return the resource of tokens: the cloud's own Graph, even where `graph_url` replaces its address."""
        return GRAPH_URLS[self.cloud]
