"""Reads Okta: who is assigned to an application, and through which of its groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from connectors.base import Connector
from connectors.okta.settings import OktaSettings
from connectors.provider import ConnectorContext, Provider, Question

# Most connectors have no feed, and start faster without its classes.
if TYPE_CHECKING:
    from connectors.feed import Feed

__all__ = ["PROVIDER", "OktaSettings"]


def _create(name: str, settings: OktaSettings, context: ConnectorContext) -> Connector:
    # Here and below: only a configured provider imports what reads it.
    from connectors.okta.connector import OktaConnector

    return OktaConnector(name, settings, context.client, limits=context.limits, progress=context.progress)


def _create_feed(name: str, settings: OktaSettings, context: ConnectorContext) -> Feed:
    from connectors.okta.feed import create_feed

    return create_feed(name, settings, context)


def _credential_checks(settings: OktaSettings) -> Mapping[str, Callable[[], object]]:
    from connectors.okta.auth import signing_key

    if settings.private_key is not None:
        return {"private_key": partial(signing_key, settings.private_key)}
    return {} if settings.api_token is None else {"api_token": settings.api_token.reveal_token}


PROVIDER = Provider(
    name="Okta",
    title="Okta",
    settings=OktaSettings,
    create=_create,
    create_feed=_create_feed,
    credential_checks=_credential_checks,
    questions=(
        Question(
            "org_url",
            "URL of the Okta org, as https://acme.okta.com",
            "https://acme.okta.com",
            metavar="URL",
            option_help="Okta: the URL of the org, such as https://acme.okta.com.",
            prefix="https://",
        ),
        Question("client_id", "Client id of the OAuth 2.0 service app (API Services)", "0oa1"),
        Question(
            "secret",
            "Where its private key (PEM) is kept: file:PATH or env:NAME",
            "env:X",
            "file:/run/secrets/okta-key.pem",
            is_secret=True,
        ),
        Question("app", "Id of Pigment's application in Okta, as 0oa1b2c3d4", "0oa1"),
    ),
    sample_yaml="""\
    org_url: {org_url}
    # An OAuth 2.0 service app with the scopes okta.apps.read, okta.groups.read and okta.users.read.
    client_id: {client_id}
    private_key: {secret}
    # dpop: true where the app requires DPoP, as new ones do.
""",
)
