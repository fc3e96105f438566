"""What the configuration says of an Entra connector."""

from __future__ import annotations

from typing import Annotated, Literal

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from connectors.rest import is_loopback
from connectors.secret import Secret

__all__ = ["EntraSettings"]

AUTHORITIES = {
    "global": "https://login.microsoftonline.com",
    "usgov": "https://login.microsoftonline.us",
    "usgov-dod": "https://login.microsoftonline.us",
    "china": "https://login.chinacloudapi.cn",
}
GRAPHS = {
    "global": "https://graph.microsoft.com",
    "usgov": "https://graph.microsoft.us",
    "usgov-dod": "https://dod-graph.microsoft.us",
    "china": "https://microsoftgraph.chinacloudapi.cn",
}


def _root(text: str) -> str:
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL:
        raise ValueError("is not a URL; write it as https://graph.microsoft.com") from None
    if url.scheme not in {"https", "http"} or not url.host:
        raise ValueError("must start with https://")
    if url.scheme == "http" and not is_loopback(url.host):
        raise ValueError("must start with https:// (http:// is for loopback hosts only)")
    if url.userinfo or url.query or url.fragment or url.path != "/":
        raise ValueError("must be the root alone, without /v1.0 and without the tenant")
    return str(url).rstrip("/")


Root = Annotated[str, AfterValidator(_root)]


class EntraSettings(BaseModel):
    """One tenant, and how to prove who we are: a secret, a certificate, or the managed identity of this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["entra"]
    tenant_id: str = Field(min_length=1, pattern=r"^[A-Za-z0-9.-]+$", description="The tenant's id, or a domain of it.")
    client_id: str = Field(
        min_length=1, description="The app registration; with `managed_identity` the identity's client id, or `system`."
    )
    client_secret: Secret | None = Field(default=None, description="A client secret of the app registration.")
    certificate: Secret | None = Field(
        default=None, description="PEM with the private key and the certificate of the app registration."
    )
    managed_identity: bool = Field(default=False, description="Use the managed identity of the Azure machine.")
    cloud: Literal["global", "usgov", "usgov-dod", "china"] = Field(default="global", description="Microsoft's cloud.")
    graph_url: Root | None = Field(default=None, description="In place of the cloud's Graph root, without /v1.0.")
    authority_url: Root | None = Field(default=None, description="In place of the cloud's login root, without tenant.")

    @model_validator(mode="after")
    def _one_credential(self) -> EntraSettings:
        given = [self.client_secret is not None, self.certificate is not None, self.managed_identity]
        if sum(given) != 1:
            raise ValueError("set exactly one of client_secret, certificate and managed_identity: true")
        return self

    @property
    def graph(self) -> str:
        return self.graph_url or GRAPHS[self.cloud]

    @property
    def authority(self) -> str:
        return self.authority_url or AUTHORITIES[self.cloud]

    @property
    def resource(self) -> str:
        """What a token is asked for: the cloud's own Graph, wherever it is reached."""
        return GRAPHS[self.cloud]
