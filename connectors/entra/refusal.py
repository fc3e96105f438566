"""What a token request that gave no token amounts to, and what to do about it."""

from __future__ import annotations

import re

from connectors.base import CredentialsRefused, IncompleteRead
from connectors.entra.settings import EntraSettings
from connectors.rest import Answer, harmless_quote, quoted

__all__ = ["refusal"]

REFUSING = frozenset({400, 401, 403})
PASSING = frozenset({"temporarily_unavailable", "server_error", "service_unavailable"})
SAYING = re.compile(r"(?P<code>AADSTS\d+)(?P<sentence>[^.]*)")
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
MACHINE_HINT = (
    "Check that this machine has that managed identity (`client_id`: a user-assigned one; without it, its own)."
)
MACHINE_LATER_HINT = (
    "Try again later: the identity endpoint of this Azure machine may be updating. If it persists, check that the "
    "machine has a managed identity, or set client_secret or certificate instead of managed_identity."
)
ELSEWHERE_HINT = (
    "Check `cloud` and `authority_url`; if they are right, try again later and see Microsoft's status page."
)


def refusal(answer: Answer, settings: EntraSettings, secret: str) -> CredentialsRefused | IncompleteRead:
    """Return the error. *secret* never comes back out."""
    word, description = _told(answer)
    saying = SAYING.search(description)
    why = f' {word}: "{harmless_quote(saying[0], (secret,) if secret else ())}"' if saying else _quote(answer, secret)
    message = f"{answer.who} got no token: {answer.status}{why}{answer.trace}."
    if answer.status not in REFUSING or word in PASSING:
        return IncompleteRead(message, MACHINE_LATER_HINT if settings.managed_identity else ELSEWHERE_HINT)
    if settings.managed_identity:
        return CredentialsRefused(message, MACHINE_HINT)
    return CredentialsRefused(message, HINTS.get(saying["code"] if saying else "", REFUSED_HINT))


def _told(answer: Answer) -> tuple[str, str]:
    """Return the OAuth error and its description (RFC 6749, section 5.2), empty where the answer has none."""
    try:
        document = answer.json()
    except IncompleteRead:
        return "", ""
    fields = document if isinstance(document, dict) else {}
    return harmless_quote(str(fields.get("error", ""))), str(fields.get("error_description", ""))


def _quote(answer: Answer, secret: str) -> str:
    """Quote an answer that is not Entra's, but nothing of one that may hold a token."""
    return "" if answer.is_success else quoted(answer.body, {"Authorization": secret})
