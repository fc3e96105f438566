"""The bundled certificate authorities are read once: loading them is the slowest part of a client's creation."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.http.tls import tls_context


def test_authorities_that_come_with_us_are_read_once() -> None:
    assert tls_context(None, {}) is tls_context(None, {})


def test_key_log_that_is_asked_for_later_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, file = tls_context(None, {}), tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(file))
    context = tls_context(None, {"SSLKEYLOGFILE": str(file)})

    assert [before.keylog_filename, context.keylog_filename] == [None, str(file)]
