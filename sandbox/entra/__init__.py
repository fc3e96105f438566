"""The pretend Entra ID: one tenant with its token endpoints and the part of Microsoft Graph that reads it."""

from sandbox.entra.app import entra_app
from sandbox.entra.delta import DeltaOptions
from sandbox.entra.tenant import EntraOptions, EntraTenant
from sandbox.entra.token import Client

__all__ = ["Client", "DeltaOptions", "EntraOptions", "EntraTenant", "entra_app"]
