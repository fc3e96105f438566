"""`check` of the targets of reports: what would fail is shown before the first report is due."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.preflight import run_preflight
from agent.settings.load import load
from connectors.base import Finding

BASE = """\
connectors: {okta: {type: okta, org_url: 'https://acme.okta.com', api_token: token-of-okta}}
workspaces:
  latam: {scim_url: 'https://x.example.com', tokens: [token-of-latam], sources: [{connector: okta, app: 0oa1}]}
server: {port: 0}
"""


async def checked(folder: Path, target: str) -> Finding:
    path = folder / "config.yaml"
    path.write_text(f"{BASE}reports: [{{name: weekly, what: plan, to: [{target}]}}]\n", "utf-8")
    (found,) = await run_preflight(load(path, {}))
    return found


@pytest.mark.parametrize(
    ("target", "level", "words"),
    [
        ("'file://{folder}'", "ok", "can be written"),
        ("'file://{folder}/missing'", "error", "does not exist"),
        ("'s3://bucket/x?secret_access_key=s3cret'", "ok", "s3://bucket/x is valid; not contacted"),
        ("'json://127.0.0.1:1/s3cret'", "warning", "can't be reached"),
        ("'{{env: REPORT_TARGET}}'", "error", "has the unknown scheme nothing://"),
    ],
)
async def test_target_of_a_report_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, level: str, words: str
) -> None:
    monkeypatch.setenv("REPORT_TARGET", "nothing://s3cret@acme.com")
    found = await checked(tmp_path, target.format(folder=tmp_path))

    assert (found.level, found.subject) == (level, "reports.weekly.to.0")
    assert words in found.message
    assert "s3cret" not in f"{found}"


async def test_service_without_attachments_is_named(tmp_path: Path) -> None:
    found = await checked(tmp_path, "'gchat://s3cret-workspace/s3cret-key/s3cret-token'")

    assert found.level == "warning"
    assert "takes no files" in found.message
    assert "s3cret" not in f"{found}"
