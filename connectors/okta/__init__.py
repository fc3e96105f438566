"""Reads Okta: who is assigned to an application, and through which of its groups."""

from connectors.okta.connector import OktaConnector
from connectors.okta.settings import OktaSettings

__all__ = ["OktaConnector", "OktaSettings"]
