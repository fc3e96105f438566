"""The first configuration: its questions, and its text with a connector and a workspace, without defaults."""

from __future__ import annotations

from collections.abc import Mapping

import yaml
from pydantic import ValidationError

from agent.settings.merge import ConfigTree
from agent.settings.messages import validation_problems
from agent.settings.root import Settings
from connectors.provider import Question
from connectors.registry import PROVIDERS

__all__ = [
    "PROVIDERS_BY_TYPE",
    "parse_secret_reference",
    "questions_for",
    "render_config",
    "validate_answer",
]


PIGMENT_QUESTIONS = (
    Question("workspace", "A name for the Pigment workspace", "pigment", "pigment"),
    Question("scim_url", "SCIM URL of the workspace, exactly as Pigment generated it", "https://example.com/scim"),
    Question("token", "Where its API token is kept: env:NAME or file:PATH", "env:Y", "env:PIGMENT_TOKEN", True),
)
PROVIDERS_BY_TYPE = {each.type_key: each for each in PROVIDERS}
FILE_TEMPLATE = """\
# The configuration of pigment-sync, created by `pigment-sync init`. Keys that are missing have their default:
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
    # allowed_domains: [acme.com]    # emails of other domains are then on hold
    # protect: [owner@acme.com]      # members that are never changed
    # schedule: {{every: 15m}}         # for `pigment-sync serve`

    # Nothing is written to Pigment in dry-run. Read a few plans, then change it to enforce.
    mode: dry-run
"""


def questions_for(provider: str) -> tuple[Question, ...]:
    """Return the questions for *provider*, in their order."""
    return (*PROVIDERS_BY_TYPE[provider].questions, *PIGMENT_QUESTIONS)


def validate_answer(provider: str, question: Question, answer: str) -> str:
    """Return *answer* as the file has it. Raises `ValueError` with a message that does not repeat it."""
    answer = question.complete(answer)
    answers = {each.key: each.sample for each in questions_for(provider)} | {question.key: answer}
    if question.is_secret:
        parse_secret_reference(answer)
    try:
        Settings.model_validate(_config_tree(provider, answers))
    except ValidationError as error:
        # The samples are valid, so the error is in the answer.
        raise ValueError(next(validation_problems(error)).message) from None
    return answer


def parse_secret_reference(answer: str) -> dict[str, str]:
    """Return the reference to a secret from `env:NAME` or `file:PATH`. Raises `ValueError`."""
    kind, colon, place = answer.strip().partition(":")
    if kind not in {"env", "file"} or not colon:
        raise ValueError("must be env:NAME or file:PATH; the file must not contain the secret itself")
    return {kind: place.strip()}


def render_config(provider: str, answers: Mapping[str, str]) -> str:
    """Return the file. *answers* are valid, one for each question."""
    written = {
        each.key: _format_secret(answers[each.key]) if each.is_secret else _format_scalar(answers[each.key])
        for each in questions_for(provider)
    }
    connector = PROVIDERS_BY_TYPE[provider].sample_yaml.format(**written)
    return FILE_TEMPLATE.format(provider=provider, connector=connector, **written)


def _config_tree(provider: str, answers: Mapping[str, str]) -> ConfigTree:
    found: ConfigTree = yaml.safe_load(render_config(provider, answers))
    return found


def _format_secret(answer: str) -> str:
    return ", ".join(f"{{{kind}: {_format_scalar(place)}}}" for kind, place in parse_secret_reference(answer).items())


def _format_scalar(value: str) -> str:
    return yaml.safe_dump(value.strip(), default_style='"', allow_unicode=True, width=10_000).strip()
