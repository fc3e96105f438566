"""The contents of the image: what is in it, and what is not."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

from tests.image.engine import IMAGE, inspected, podman, ran
from tests.image.size import megabytes

REPOSITORY = Path(__file__).parents[2]
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]
BUILDERS = (
    "pip",
    "setuptools",
    "wheel",
    "hatchling",
    "editables",
    "pluggy",
    "pathspec",
    "trove_classifiers",
    "ensurepip",
)
PYTHON = ("--entrypoint=python",)


def revision() -> str:
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.strip()


def check_help_names_the_commands() -> None:
    result = ran("--help")
    assert (result.code, result.err) == (0, "")
    assert "  serve " in result.out


def check_version_names_release_and_commit() -> None:
    result = ran("--version")
    assert result.code == 0
    assert result.out.startswith(f"pigment-sync {VERSION} (commit {revision()[:7]}, Python 3.")


def check_labels_describe_the_image() -> None:
    labels = inspected(IMAGE)["Config"]["Labels"]
    found = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    assert found["title"] == "pigment-sync"
    assert found["licenses"] == "Apache-2.0"
    assert (found["version"], found["revision"]) == (VERSION, revision())
    assert "Pigment" in found["description"]


def check_user_is_a_number_and_the_state_has_a_volume() -> None:
    config = inspected(IMAGE)["Config"]
    assert config["User"] == "10001:10001"
    assert list(config["Volumes"]) == ["/var/lib/pigment-sync"]
    assert not [each for each in config["Env"] if each.startswith("PIGMENT_SYNC__")]
    assert "STATE_DIRECTORY=/var/lib/pigment-sync" in config["Env"]


def check_size_over_the_base_is_below_250_megabytes() -> None:
    image, base = megabytes()
    assert image - base < 250


def check_nothing_that_builds_is_left() -> None:
    looking = f"import importlib.util as i; print([n for n in {BUILDERS!r} if i.find_spec(n)])"
    assert ran("-c", looking, more=PYTHON).out.strip() == "[]"
    anywhere = ran(
        *(
            "/",
            "-xdev",
            "!",
            "-type",
            "d",
            "(",
            "-name",
            "pip-*.whl",
            "-o",
            "-name",
            "pip3*",
            "-o",
            "-name",
            "gcc",
            "-o",
            "-name",
            "cc",
            "-o",
            "-name",
            "hatch*",
            ")",
        ),
        more=("--entrypoint=find",),
        user="0",
    )
    assert (anywhere.code, anywhere.out) == (0, "")


def check_everything_is_compiled_and_nothing_is_too_much() -> None:
    looking = (
        "import pathlib, importlib.util as i, sys; root = pathlib.Path(sys.prefix, 'lib');"
        "print([str(f) for f in root.rglob('*.py') if not pathlib.Path(i.cache_from_source(f)).exists()]);"
        "print([str(f) for f in root.rglob('*.pyc') if f.read_bytes()[4:8] != b'\\x01\\0\\0\\0']);"
        "print([str(f) for f in root.rglob('tests')])"
    )
    result = ran("-c", looking, more=PYTHON)
    assert result.out.split("\n")[:3] == ["[]"] * 3, result


def check_time_zones_are_known() -> None:
    result = ran(
        "-c", "import zoneinfo; zoneinfo.ZoneInfo('Europe/Berlin'); zoneinfo.ZoneInfo('America/Sao_Paulo')", more=PYTHON
    )
    assert (result.code, result.err) == (0, "")


def check_no_secret_and_no_test_is_in_its_history() -> None:
    result = podman("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE).out
    assert "pigment-sync" in result
    assert "PIP_" not in result
