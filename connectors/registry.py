"""Every provider that the agent knows. A new one is a package and a line here (docs/adding-a-provider.md)."""

from __future__ import annotations

from typing import Any

from connectors import entra, okta, onelogin
from connectors.provider import Provider, ProviderSettings

__all__ = ["PROVIDERS", "provider_of"]

PROVIDERS: tuple[Provider[Any], ...] = (
    okta.PROVIDER,
    entra.PROVIDER,
    onelogin.PROVIDER,
)
"""In the order in which messages and `init` list them."""


def provider_of(settings: ProviderSettings) -> Provider[Any]:
    """Return the provider that a connector's settings belong to."""
    return next(provider for provider in PROVIDERS if provider.type_key == settings.type)
