"""Reads who is assigned in OneLogin, through roles."""

from connectors.onelogin.connector import OneLoginConnector
from connectors.onelogin.settings import OneLoginSettings

__all__ = ["OneLoginConnector", "OneLoginSettings"]
