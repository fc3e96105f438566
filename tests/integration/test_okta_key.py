"""`okta-key`: the private key is kept private and never overwritten, and Okta can verify with what is printed."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import yaml
from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT

from connectors.okta.auth import ServiceApp, signing_key
from connectors.okta.new_key import KeyAlgorithm, create_key
from connectors.secret import Secret
from tests.e2e.agent_process import Ran
from tests.e2e.command_line import run_command

ORG = "https://acme.okta.example"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def okta_key(*arguments: str) -> Ran:
    # The command needs no configuration, so it may be one that does not exist.
    return run_command(Path("none.yaml"), "okta-key", *arguments)


def assertion(pem: Path, kid: str | None) -> str:
    app = ServiceApp("okta-main", ORG, "0oaservice", Secret("file", str(pem)), kid)
    return app.token_request_form(1_800_000_000)["client_assertion"]


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_printed_key_verifies_what_our_client_signs(folder: Path, algorithm: str) -> None:
    ran = okta_key("--alg", algorithm)

    assert ran.code == 0, ran.err
    public = json.loads(ran.out)
    key = JWK(**public)
    assert (public["use"], public["alg"], public["kid"]) == ("sig", algorithm, key.thumbprint())
    assert not key.has_private
    signed = JWT(algs=[algorithm], check_claims={"iss": "0oaservice", "exp": None, "iat": None}, expected_type="JWS")
    signed.validity = 10**9
    signed.deserialize(assertion(folder / "okta-key.pem", public["kid"]), key)
    assert json.loads(signed.claims)["aud"] == f"{ORG}/oauth2/v1/token"
    assert json.loads(signed.header) == {"alg": algorithm, "typ": "JWT", "kid": public["kid"]}
    assert signing_key(Secret("file", "okta-key.pem"))[1] == algorithm


def test_lines_of_the_configuration_can_be_used(folder: Path) -> None:
    out = folder / "a folder: #1" / "key.pem"
    out.parent.mkdir()

    ran = okta_key("--out", str(out), "--kid", "2026-11: new", "--alg", "ES256")

    lines = yaml.safe_load(ran.err[ran.err.index("connectors:") :])
    assert lines["connectors"]["okta-main"] == {"private_key": {"file": str(out)}, "kid": "2026-11: new", "dpop": True}
    assert json.loads(ran.out)["kid"] == "2026-11: new"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_private_key_is_for_its_owner_only_and_is_not_printed(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        ran = okta_key("--alg", "ES256")
    finally:
        os.umask(before)

    path = folder / "okta-key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    pem = path.read_text()
    assert pem.startswith("-----BEGIN PRIVATE KEY-----")
    assert "PRIVATE KEY" not in ran.out + ran.err
    assert "d" not in json.loads(ran.out)
    assert [each.name for each in folder.iterdir()] == ["okta-key.pem"]


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "folder"])
def test_existing_file_is_never_overwritten(folder: Path, kind: str) -> None:
    path, target = folder / "okta-key.pem", folder / "target"
    if kind == "file":
        path.write_text("the key in use")
    elif kind == "folder":
        path.mkdir()
    else:
        if kind == "link":
            target.write_text("the key in use")
        path.symlink_to(target)

    ran = okta_key()

    assert (ran.code, ran.out) == (2, "")
    assert "okta-key.pem exists, and a key is never overwritten" in ran.err
    assert "--out" in ran.err
    assert target.exists() is (kind == "link")
    if kind in {"file", "link"}:
        assert path.read_text() == "the key in use"


@pytest.mark.parametrize("out", ["nowhere/key.pem", "file/key.pem", "/proc/key.pem", "x" * 300])
def test_folder_that_cannot_be_written_is_a_usage_error(folder: Path, out: str) -> None:
    (folder / "file").write_text("")

    ran = okta_key("--out", out)

    assert (ran.code, ran.out) == (2, "")
    assert "can't be written" in ran.err
    assert [each.name for each in folder.iterdir()] == ["file"]


@pytest.mark.parametrize("kid", [" a", "a\n", "x" * 256])
def test_odd_key_ids_are_refused(folder: Path, kid: str) -> None:
    ran = okta_key("--kid", kid)

    assert ran.code == 2
    assert "--kid must be printable" in ran.err
    assert list(folder.iterdir()) == []


def test_key_does_not_show_itself() -> None:
    key = create_key(KeyAlgorithm.ES256, "k")

    assert repr(key) == "NewKey(kid='k')"
