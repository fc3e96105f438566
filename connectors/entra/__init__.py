"""Reads who is assigned in Microsoft Entra ID, through groups."""

from connectors.entra.connector import EntraConnector
from connectors.entra.settings import EntraSettings

__all__ = ["EntraConnector", "EntraSettings"]
