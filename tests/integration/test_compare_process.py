"""The process of its own in which another reader runs: what it gets, and every way in which it can fail."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from agent.compare.reader_process import ReaderProcess
from connectors.base import IncompleteRead

SECRET = "a-secret-of-a-tenant"


def reader(do: str, **options: float) -> ReaderProcess:
    return ReaderProcess(
        module="tests.pretend_reader",
        name="the other reader",
        request={"do": do, "secret": SECRET},
        secrets=[SECRET],
        variables={"SSL_CERT_FILE": "/etc/authorities.pem"},
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ("die", "was ended by signal 9."),
        ("fail", "ended early with exit code 3: no luck with ***"),
        ("half", "ended early with exit code 0."),
        ("garbage", "wrote something that is not an answer."),
        ("number", "wrote something that is not an answer."),
        ("unknown", "wrote something that is not an answer."),
        ("long", "wrote a line of more than 67,108,864 bytes."),
    ],
)
async def test_a_reader_that_does_not_come_to_its_end_is_an_incomplete_read(do: str, message: str) -> None:
    with pytest.raises(IncompleteRead) as raised:
        await reader(do).read()

    assert raised.value.message == f"The process that reads with the other reader {message}"
    assert "Nothing was compared." in raised.value.hint
    assert SECRET not in raised.value.message


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"silence_seconds": 0.2}, "gave no sign of life for 0 s and was ended."),
        ({"max_seconds": 0.2}, "did not end within 0 s."),
    ],
)
async def test_a_reader_that_hangs_is_ended(bounds: dict[str, float], message: str) -> None:
    with pytest.raises(IncompleteRead) as raised:
        await reader("hang", **bounds).read()

    assert message in raised.value.message


async def test_error_of_the_reader_is_the_error_of_the_read() -> None:
    with pytest.raises(IncompleteRead) as raised:
        await reader("error").read()

    assert raised.value.message == "the other reader: no \\x1b[31mway"
    assert raised.value.hint == "Go on."


async def test_reader_starts_with_nothing_of_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OKTA_CLIENT_TOKEN", "of the environment")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "okta.yaml").write_text("okta: {}", "utf-8")

    (shown,) = await reader("show").read()

    folder = Path(str(shown["folder"]))
    assert shown["files"] == []
    assert folder not in (tmp_path, Path.home())
    assert not os.path.exists(folder), "it is removed at the end"  # noqa: ASYNC240, PTH110  (nothing else runs here)
    environment = dict(each.split("=", 1) for each in shown["environment"] if "=" in each)  # type: ignore[attr-defined]
    assert environment.keys() == {
        "PATH", "HOME", "TMPDIR", "LANG", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "SSL_CERT_FILE"
    }  # fmt: skip
    assert environment["HOME"] == str(folder)
    assert shown["argv"] == [sys.executable, "-P", "-s", "-m", "tests.pretend_reader"]
    assert SECRET not in str(shown)


async def test_progress_is_reported() -> None:
    seen: list[tuple[str, int, int | None]] = []

    process = ReaderProcess(
        module="tests.pretend_reader",
        name="the other reader",
        request={"do": "show"},
        progress=lambda what, done, total: seen.append((what, done, total)),
    )
    await process.read()

    assert seen == [("the other reader: rows", 1, 2)]


async def test_machine_without_a_writable_temporary_folder_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")

    with pytest.raises(IncompleteRead) as raised:
        await reader("show").read()

    assert "needs an empty folder, and none can be made" in raised.value.message
    assert "TMPDIR" in raised.value.hint
