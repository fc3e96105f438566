"""What a first configuration needs to know, and its text: a connector, a workspace, nothing that has a default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import yaml
from pydantic import ValidationError

from agent.settings.merge import ConfigTree
from agent.settings.messages import validation_problems
from agent.settings.root import Settings

__all__ = [
    "PROVIDER_QUESTIONS",
    "Question",
    "parse_secret_reference",
    "questions_for",
    "render_config",
    "validate_answer",
]


@dataclass(frozen=True, slots=True)
class Question:
    """One value of the file. *key* names it, *prompt* ask for it; *sample* stands for it while others are checked."""

    key: str
    prompt: str
    sample: str
    default: str = ""
    is_secret: bool = False


OKTA_QUESTIONS = (
    Question("org_url", "URL of the Okta org, as https://acme.okta.com", "https://acme.okta.com"),
    Question("client_id", "Client id of the OAuth 2.0 service app (API Services)", "0oa1"),
    Question(
        "secret",
        "Where its private key (PEM) is kept: file:PATH or env:NAME",
        "env:X",
        "file:/run/secrets/okta.pem",
        True,
    ),
    Question("app", "Id of Pigment's application in Okta, as 0oa1b2c3d4", "0oa1"),
)
ENTRA_QUESTIONS = (
    Question("tenant_id", "Id of the Entra tenant, or a domain of it", "acme.com"),
    Question("client_id", "Application id of the app registration", "1-2"),
    Question("secret", "Where its client secret is kept: env:NAME or file:PATH", "env:X", "env:ENTRA_SECRET", True),
    Question("app", "Object id of Pigment's service principal (Enterprise applications, not App registrations)", "1-2"),
)
ONELOGIN_QUESTIONS = (
    Question("subdomain", "Subdomain of the OneLogin account: acme for https://acme.onelogin.com", "acme"),
    Question("client_id", "Client id of the API credential (scope Read All)", "1"),
    Question("secret", "Where its client secret is kept: env:NAME or file:PATH", "env:X", "env:ONELOGIN_SECRET", True),
    Question("app", "Id of Pigment's application in OneLogin, a number", "1"),
)
PIGMENT_QUESTIONS = (
    Question("workspace", "A name for the Pigment workspace", "pigment", "pigment"),
    Question("scim_url", "SCIM URL of the workspace, exactly as Pigment generated it", "https://example.com/scim"),
    Question("token", "Where its API token is kept: env:NAME or file:PATH", "env:Y", "env:PIGMENT_TOKEN", True),
)
PROVIDER_QUESTIONS: Mapping[str, tuple[Question, ...]] = {
    "okta": OKTA_QUESTIONS,
    "entra": ENTRA_QUESTIONS,
    "onelogin": ONELOGIN_QUESTIONS,
}
CONNECTOR_TEMPLATES = {
    "okta": """\
    org_url: {org_url}
    # An OAuth 2.0 service app with the scopes okta.apps.read, okta.groups.read and okta.users.read.
    client_id: {client_id}
    private_key: {secret}
""",
    "entra": """\
    tenant_id: {tenant_id}
    # An app registration with the application permissions Application.Read.All, GroupMember.Read.All and User.Read.All,
    # and admin consent.
    client_id: {client_id}
    client_secret: {secret}
""",
    "onelogin": """\
    subdomain: {subdomain}
    # An API credential with the scope Read All.
    client_id: {client_id}
    client_secret: {secret}
""",
}
FILE_TEMPLATE = """\
# The configuration of pigment-sync, begun by `pigment-sync init`. What is not here has its default:
# docs/configuration.md lists every key, config.example.yaml shows each in its place.
# A secret is {{env: NAME}} or {{file: PATH}}; relative paths are relative to this file.

connectors:
  {provider}:
    type: {provider}
{connector}
workspaces:
  {workspace}:
    scim_url: {scim_url}
    tokens: [{token}]
    sources:
      - connector: {provider}
        app: {app}
    # allowed_domains: [acme.com]    # emails of other domains are then held
    # protect: [owner@acme.com]      # members that are never changed
    # schedule: {{every: 15m}}         # for `pigment-sync serve`

    # Nothing is written to Pigment in dry-run. Read a few plans, then change it to enforce.
    mode: dry-run
"""


def questions_for(provider: str) -> tuple[Question, ...]:
    """Return what there is to know for *provider*, in the order of asking."""
    return (*PROVIDER_QUESTIONS[provider], *PIGMENT_QUESTIONS)


def validate_answer(provider: str, question: Question, answer: str) -> str:
    """Return *answer* as the file has it. Raises `ValueError` with a sentence that does not repeat it."""
    answers = {each.key: each.sample for each in questions_for(provider)} | {question.key: answer}
    if question.is_secret:
        parse_secret_reference(answer)
    try:
        Settings.model_validate(_config_tree(provider, answers))
    except ValidationError as error:
        # The samples are right, so whatever is wrong is the answer.
        raise ValueError(next(validation_problems(error)).message) from None
    return answer.strip()


def parse_secret_reference(answer: str) -> dict[str, str]:
    """Return where a secret is kept, of `env:NAME` or `file:PATH`. Raises `ValueError`."""
    kind, colon, place = answer.strip().partition(":")
    if kind not in {"env", "file"} or not colon:
        raise ValueError("must be env:NAME or file:PATH; the secret itself has no place in the file")
    return {kind: place.strip()}


def render_config(provider: str, answers: Mapping[str, str]) -> str:
    """Return the file. *answers* are checked, one for each of the questions."""
    written = {
        each.key: _format_secret(answers[each.key]) if each.is_secret else _format_scalar(answers[each.key])
        for each in questions_for(provider)
    }
    connector = CONNECTOR_TEMPLATES[provider].format(**written)
    return FILE_TEMPLATE.format(provider=provider, connector=connector, **written)


def _config_tree(provider: str, answers: Mapping[str, str]) -> ConfigTree:
    found: ConfigTree = yaml.safe_load(render_config(provider, answers))
    return found


def _format_secret(answer: str) -> str:
    return ", ".join(f"{{{kind}: {_format_scalar(place)}}}" for kind, place in parse_secret_reference(answer).items())


def _format_scalar(value: str) -> str:
    return yaml.safe_dump(value.strip(), default_style='"', allow_unicode=True, width=10_000).strip()
