"""The files that build and run the image match each other, the project and the settings; this needs no engine."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.settings.load import load

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text("utf-8")
IGNORED = (REPOSITORY / ".dockerignore").read_text("utf-8")
COMPOSE = (REPOSITORY / "deploy" / "compose.yaml").read_text("utf-8")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


def linted(dockerfile: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "Dockerfile"
    file.write_text(dockerfile, "utf-8")
    command = [str(Path(sys.executable).parent / "hadolint"), str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing_in_the_dockerfile(tmp_path: Path) -> None:
    result = linted(DOCKERFILE, tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    assert linted(DOCKERFILE.replace('ENTRYPOINT ["pigment-sync"]', "ENTRYPOINT pigment-sync"), tmp_path).returncode


def missing(dockerfile: str, ignored: str) -> set[str]:
    """Return the files that the wheel needs but the build does not copy."""
    needed = {*PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], PROJECT["project"]["readme"]}
    needed |= {*PROJECT["project"]["license-files"], "pyproject.toml", "requirements.lock", "build.lock"}
    sources = re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.MULTILINE)
    copied = {name for line in sources for name in line.split()}
    let_through = set(re.findall(r"^!(.+)$", ignored, re.MULTILINE))
    return (needed - copied) | (needed - let_through)


def test_dockerfile_copies_what_the_wheel_needs() -> None:
    assert IGNORED.startswith("*\n")
    assert missing(DOCKERFILE, IGNORED) == set()
    assert missing(DOCKERFILE.replace("COPY sandbox sandbox\n", ""), IGNORED) == {"sandbox"}
    assert missing(DOCKERFILE, IGNORED.replace("!build.lock\n", "")) == {"build.lock"}


@pytest.mark.parametrize("text", [DOCKERFILE, COMPOSE])
def test_nothing_overrules_where_the_configuration_puts_the_state(text: str) -> None:
    assert "PIGMENT_SYNC__STATE__URL" not in text.upper()


def wrong(compose: dict[str, Any]) -> list[str]:
    """Return the insecure settings of a compose file."""
    found = []
    for name, service in compose["services"].items():
        is_hardened = service.get("read_only") is True and service.get("cap_drop") == ["ALL"]
        if not is_hardened or "no-new-privileges:true" not in service.get("security_opt", []):
            found.append(f"{name} is not hardened")
        found += [f"{name} publishes {port}" for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
        found += [f"{name} misses {each}" for each in service.get("secrets", []) if each not in compose["secrets"]]
    return found


def test_compose_file_is_careful() -> None:
    compose = yaml.safe_load(COMPOSE)
    assert wrong(compose) == []
    assert compose["services"]["agent"]["image"].endswith(f":{PROJECT['project']['version']}}}")
    assert wrong(yaml.safe_load(COMPOSE.replace('"127.0.0.1:', '"'))) != []
    assert wrong(yaml.safe_load(COMPOSE.replace("  read_only: true\n", ""))) != []
    assert wrong(yaml.safe_load(COMPOSE.replace("  page-token: {", "  page: {"))) == ["agent misses page-token"]


def test_configuration_of_the_compose_file_is_valid_and_names_its_secrets() -> None:
    file = REPOSITORY / "deploy" / "compose" / "agent" / "config.yaml"
    settings = load(file, {"STATE_DIRECTORY": "/var/lib/pigment-sync"})
    assert settings.server.host == "0.0.0.0"  # noqa: S104
    named = set(re.findall(r"/run/secrets/([a-z-]+)", file.read_text("utf-8")))
    assert named == set(yaml.safe_load(COMPOSE)["services"]["agent"]["secrets"])
