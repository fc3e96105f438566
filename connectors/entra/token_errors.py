"""What a token request that gave no token amounts to, and what to do about it."""

from __future__ import annotations

import re

from connectors.base import CredentialsRefused, IncompleteRead
from connectors.entra.settings import EntraSettings
from connectors.http import ApiResponse, error_excerpt, redact

__all__ = ["token_error"]

REFUSAL_STATUSES = frozenset({400, 401, 403})
TRANSIENT_ERRORS = frozenset({"temporarily_unavailable", "server_error", "service_unavailable"})
AADSTS_MESSAGE = re.compile(r"(?P<code>AADSTS\d+)(?P<sentence>[^.]*)")
"""Entra's number and its first sentence; ids and times follow that are of no use here."""

TENANT_HINT = "Check `tenant_id` and `cloud`: there is no such tenant in this cloud."
EXPIRED_HINT = "Make a new client secret in the app registration (Certificates & secrets), and put it into the config."
CERTIFICATE_HINT = "Upload the certificate of the config to the app registration, or use one that is there and valid."
CONSENT_HINT = "Grant admin consent to the app registration's permissions, and check that it is enabled in this tenant."
HINTS = {
    "AADSTS7000215": "Put the secret's value, not its id, into `client_secret`, and check that it is this app's.",
    "AADSTS7000222": EXPIRED_HINT,
    "AADSTS700016": "Check `client_id` and `tenant_id`: the app registration is not in that tenant.",
    "AADSTS7000112": "Enable the app registration's enterprise application in Entra.",
    "AADSTS7000229": CONSENT_HINT,
    "AADSTS90002": TENANT_HINT,
    "AADSTS900023": TENANT_HINT,
    "AADSTS700024": "Set this machine's clock right.",
    "AADSTS700027": CERTIFICATE_HINT,
    "AADSTS700021": CERTIFICATE_HINT,
    "AADSTS53003": "Let the app registration pass in the Conditional Access policies for workload identities.",
}
REFUSED_HINT = "Check `tenant_id`, `client_id`, the secret or certificate, `cloud`, and the app registration in Entra."
MANAGED_IDENTITY_HINT = (
    "Check that this machine has that managed identity (`client_id`: a user-assigned one; without it, its own)."
)
MANAGED_IDENTITY_LATER_HINT = (
    "Try again later: the identity endpoint of this Azure machine may be updating. If it persists, check that the "
    "machine has a managed identity, or set client_secret or certificate instead of managed_identity."
)
UNEXPECTED_HINT = (
    "Check `cloud` and `authority_url`; if they are right, try again later and see Microsoft's status page."
)


def token_error(answer: ApiResponse, settings: EntraSettings, secret: str) -> CredentialsRefused | IncompleteRead:
    """Return the error. *secret* never comes back out."""
    word, description = _oauth_error(answer)
    saying = AADSTS_MESSAGE.search(description)
    why = (
        f' {word}: "{redact(saying[0], (secret,) if secret else ())}"' if saying else _redacted_excerpt(answer, secret)
    )
    message = f"{answer.server} got no token: {answer.status}{why}{answer.request_label}."
    if answer.status not in REFUSAL_STATUSES or word in TRANSIENT_ERRORS:
        return IncompleteRead(message, MANAGED_IDENTITY_LATER_HINT if settings.managed_identity else UNEXPECTED_HINT)
    if settings.managed_identity:
        return CredentialsRefused(message, MANAGED_IDENTITY_HINT)
    return CredentialsRefused(message, HINTS.get(saying["code"] if saying else "", REFUSED_HINT))


def _oauth_error(answer: ApiResponse) -> tuple[str, str]:
    """Return the OAuth error and its description (RFC 6749, section 5.2), empty where the answer has none."""
    try:
        document = answer.json()
    except IncompleteRead:
        return "", ""
    fields = document if isinstance(document, dict) else {}
    return redact(str(fields.get("error", ""))), str(fields.get("error_description", ""))


def _redacted_excerpt(answer: ApiResponse, secret: str) -> str:
    """Quote an answer that is not Entra's, but nothing of one that may hold a token."""
    return "" if answer.is_success else error_excerpt(answer.body, {"Authorization": secret})
