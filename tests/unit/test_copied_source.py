from __future__ import annotations

from pathlib import Path

import pytest

from tests.copied_source import copy_source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a package with bytecode, and with files of which a process is about to make bytecode."""
    folder = tmp_path / "package"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "module.py").write_text("x = 1\n", "utf-8")
    for name in ("module.cpython-311.pyc", "module.cpython-311.pyc.17646", "test.cpython-311-pytest-9.2.0.pyc.1403"):
        (folder / "__pycache__" / name).write_bytes(b"")
    return folder


def test_copy_takes_only_finished_bytecode(source: Path, tmp_path: Path) -> None:
    # A link to nothing fails to copy as a file does that is renamed meanwhile.
    (source / "__pycache__" / "other.cpython-311.pyc.99").symlink_to(tmp_path / "renamed")

    copy_source(source, tmp_path / "copy", with_bytecode=True)

    copied = {path.name for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert copied == {"module.py", "module.cpython-311.pyc"}


def test_copy_without_bytecode_has_the_source_alone(source: Path, tmp_path: Path) -> None:
    copy_source(source, tmp_path / "copy")

    assert [path.name for path in (tmp_path / "copy").rglob("*")] == ["module.py"]
