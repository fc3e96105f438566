"""Reads Microsoft Entra ID: who is assigned to an enterprise application, and through which of its groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from connectors.base import Connector
from connectors.entra.settings import EntraSettings
from connectors.provider import ConnectorContext, Provider, Question

# Most connectors have no feed, and start faster without its classes.
if TYPE_CHECKING:
    from connectors.feed import Feed

__all__ = ["PROVIDER", "EntraSettings"]


def _create(name: str, settings: EntraSettings, context: ConnectorContext) -> Connector:
    # Here and below: only a configured provider imports what reads it.
    from connectors.entra.connector import EntraConnector

    return EntraConnector(
        name,
        settings,
        context.client,
        limits=context.limits,
        progress=context.progress,
    )


def _create_feed(name: str, settings: EntraSettings, context: ConnectorContext) -> Feed:
    from connectors.entra.feed import create_feed

    return create_feed(name, settings, context)


def _credential_checks(settings: EntraSettings) -> Mapping[str, Callable[[], object]]:
    from connectors.entra.certificate import load_credential

    return {} if settings.certificate is None else {"certificate": partial(load_credential, settings)}


PROVIDER = Provider(
    name="Entra",
    title="Microsoft Entra ID",
    settings=EntraSettings,
    create=_create,
    create_feed=_create_feed,
    credential_checks=_credential_checks,
    has_guests_and_nesting=True,
    questions=(
        Question(
            "tenant_id",
            "Id of the Entra tenant, or a domain of it",
            "acme.com",
            metavar="ID",
            option_help="Entra: the tenant id or a domain of the tenant.",
        ),
        Question("client_id", "Application id of the app registration", "1-2"),
        Question(
            "secret",
            "Where its client secret is kept: env:NAME or file:PATH",
            "env:X",
            "env:ENTRA_SECRET",
            is_secret=True,
        ),
        Question(
            "app", "Object id of Pigment's service principal (Enterprise applications, not App registrations)", "1-2"
        ),
    ),
    sample_yaml="""\
    tenant_id: {tenant_id}
    # An app registration with the application permissions Application.Read.All, GroupMember.Read.All and User.Read.All,
    # and admin consent.
    client_id: {client_id}
    client_secret: {secret}
""",
)
