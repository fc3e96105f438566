"""What a provider package declares about itself: its settings, its connector, the questions of `init`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar, get_args

import httpx
from pydantic import BaseModel, ConfigDict, Field

from connectors.base import Connector, Progress, Source, discard_progress
from connectors.duration import Duration
from connectors.http import DEFAULT_LIMITS, RequestLimits

# Most connectors have no feed, and start faster without its classes.
if TYPE_CHECKING:
    from connectors.feed import Feed

__all__ = ["ConnectorContext", "FeedSettings", "Provider", "ProviderSettings", "Question"]


class FeedSettings(BaseModel):
    """The change feed of one connector."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    every: Duration = Field(default=timedelta(seconds=15), description="How often the feed is polled, from 10s.")
    max_people: int = Field(
        default=25,
        ge=1,
        le=500,
        description="More people of a workspace than this in one poll are left to a run over everyone.",
    )
    whole_run_every: Duration = Field(
        default=timedelta(minutes=5), description="The feed starts a run over everyone at most this often."
    )


class ProviderSettings(BaseModel, ABC):
    """The keys of one connector in the config file. Each subclass narrows *type* to a `Literal` of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: str

    @property
    @abstractmethod
    def base_url(self) -> str:
        """Return the root of the API that is read. It identifies the tenant in the state, with *tenant*."""

    @property
    def tenant(self) -> str:
        """Return the tenant where the URL does not identify it, else an empty text."""
        return ""

    @property
    def change_feed(self) -> FeedSettings | None:
        """Return the settings of the change feed, None where it is off or the provider has none."""
        return None


@dataclass(frozen=True, slots=True)
class Question:
    """One value that `init` asks for. *key* is the placeholder in the sample YAML and the name of the option.

    *sample* is a valid value, used while other answers are checked. *metavar* and *option_help* describe the option;
    the options `client_id`, `secret` and `app` are shared by all providers and described there. *prefix* is put before
    an answer without a scheme.
    """

    key: str
    prompt: str
    sample: str
    default: str = ""
    is_secret: bool = False
    metavar: str = "TEXT"
    option_help: str = ""
    prefix: str = ""

    def complete(self, answer: str) -> str:
        """Return *answer* with the prefix, where it has no scheme."""
        answer = answer.strip()
        return f"{self.prefix}{answer}" if answer and "://" not in answer else answer


@dataclass(frozen=True, slots=True)
class ConnectorContext:
    """What the agent gives to every connector. *sources* are those of the connector that a feed is read for."""

    client: httpx.AsyncClient
    limits: RequestLimits = DEFAULT_LIMITS
    progress: Progress = discard_progress
    sources: tuple[Source, ...] = ()


S = TypeVar("S", bound=ProviderSettings)


def _no_checks(_settings: ProviderSettings) -> Mapping[str, Callable[[], object]]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(Generic[S]):
    """One identity provider. *name* is the short name in sentences, *title* the full one.

    *create* builds a connector from its name, settings and context. *questions* are asked by `init`, and must include
    `app`; *sample_yaml* has their keys as placeholders. *has_guests_and_nesting* permits the keys `guests` and `nested`
    of a source. *credential_checks* returns, by key, checks that raise `SecretError` for a credential that can't be
    used; without one, every secret of the settings is revealed instead. *create_feed* builds the change feed, None
    where the provider has no feed yet.
    """

    name: str
    title: str
    settings: type[S]
    create: Callable[[str, S, ConnectorContext], Connector]
    questions: tuple[Question, ...]
    sample_yaml: str
    has_guests_and_nesting: bool = False
    credential_checks: Callable[[S], Mapping[str, Callable[[], object]]] = _no_checks
    create_feed: Callable[[str, S, ConnectorContext], Feed] | None = None

    @property
    def type_key(self) -> str:
        """Return the value of `type` in the config file."""
        (value,) = get_args(self.settings.model_fields["type"].annotation)
        return str(value)
