"""Reads OneLogin: who is assigned to an application, and through which of its roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.base import Connector
from connectors.onelogin.settings import OneLoginSettings
from connectors.provider import ConnectorContext, Provider, Question

# Most connectors have no feed, and start faster without its classes.
if TYPE_CHECKING:
    from connectors.feed import Feed

__all__ = ["PROVIDER", "OneLoginSettings"]


def _create(name: str, settings: OneLoginSettings, context: ConnectorContext) -> Connector:
    # Here and below: only a configured provider imports what reads it.
    from connectors.onelogin.connector import OneLoginConnector

    return OneLoginConnector(name, settings, context.client, limits=context.limits, progress=context.progress)


def _create_feed(name: str, settings: OneLoginSettings, context: ConnectorContext) -> Feed:
    from connectors.onelogin.feed import create_feed

    return create_feed(name, settings, context)


PROVIDER = Provider(
    name="OneLogin",
    title="OneLogin",
    settings=OneLoginSettings,
    create=_create,
    create_feed=_create_feed,
    questions=(
        Question(
            "subdomain",
            "Subdomain of the OneLogin account: acme for https://acme.onelogin.com",
            "acme",
            metavar="NAME",
            option_help="OneLogin: acme for https://acme.onelogin.com.",
        ),
        Question("client_id", "Client id of the API credential (scope Read All)", "1"),
        Question(
            "secret",
            "Where its client secret is kept: env:NAME or file:PATH",
            "env:X",
            "env:ONELOGIN_SECRET",
            is_secret=True,
        ),
        Question("app", "Id of Pigment's application in OneLogin, a number", "1"),
    ),
    sample_yaml="""\
    subdomain: {subdomain}
    # An API credential with the scope Read All.
    client_id: {client_id}
    client_secret: {secret}
""",
)
