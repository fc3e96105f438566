"""The API responds as its OpenAPI document describes, for any input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance, unsupported_method

from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import run_sandbox
from tests import plain_http
from tests.e2e.daemon_process import OPERATOR, Serving, access, configured, serving

LATAM = "pigment-latam"
# No schema defines an email address exactly; the other checks send requests without our token.
EXCLUDED = [positive_data_acceptance, ignored_auth, unsupported_method]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with run_sandbox(seed=5, size=10, limit=RateLimit(None)) as sandbox:
        agent = configured(sandbox, tmp_path_factory.mktemp("described"), None, server=access())
        with serving(agent) as found:
            yield found


def described(daemon: Serving) -> BaseSchema:
    """Return the served document, with the names of real workspaces, so that more than 404 is covered."""
    url = f"http://127.0.0.1:{daemon.port}"
    document = plain_http.get(f"{url}/api/v1/openapi.json").raise_for_status().json()
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "name":
                    parameter["schema"] = {"type": "string", "enum": [LATAM, "nowhere"]}
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    return schema


def test_api_keeps_its_description_whatever_is_sent(daemon: Serving) -> None:
    tried = set()
    for found in described(daemon).get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
            def keeps(case: Any) -> None:
                case.call_and_validate(headers={"Authorization": f"Bearer {OPERATOR}"}, excluded_checks=EXCLUDED)

            # An operation without input has no invalid input.
            with suppress(Unsatisfiable):
                keeps()
        tried.add(operation.label)

    assert len(tried) == 12
