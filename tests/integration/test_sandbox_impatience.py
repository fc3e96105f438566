from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from sandbox.faults.parse import parse_rules
from sandbox.server import run_sandbox


def test_client_that_does_not_wait_is_remembered_and_makes_no_noise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with run_sandbox(seed=4, size=10) as sandbox:
        slow = {"name": "slow", "do": "slow", "system": "onelogin", "seconds": 1}
        sandbox.faults.put(parse_rules({"faults": [slow]}))
        url = sandbox.config_yaml().split("api_url: ")[1].split()[0]
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/auth/oauth2/v2/token", json={}, timeout=httpx.Timeout(120, read=0.1), trust_env=False)
        sandbox.faults.clear()
        httpx.post(f"{url}/auth/oauth2/v2/token", json={}, timeout=120, trust_env=False)
        for _ in range(50):
            if len(sandbox.requests("onelogin")) > 1:
                break
            httpx.get(f"{url}/none", timeout=120, trust_env=False)

    assert 0 in {seen.status for seen in sandbox.requests("onelogin")}
    assert not [record for record in caplog.records if record.exc_info]
