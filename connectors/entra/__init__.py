"""Reads Microsoft Entra ID: who is assigned to an enterprise application, and through which of its groups."""

from connectors.entra.connector import EntraConnector
from connectors.entra.settings import EntraSettings

__all__ = ["EntraConnector", "EntraSettings"]
