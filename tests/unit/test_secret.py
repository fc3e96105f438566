"""What may be shown of a secret: where it is kept, what is wrong with that place, never its value."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from connectors.base import CredentialsRefused
from connectors.secret import Secret, SecretError, revealed_values

VALUE = "s3cret-Value-1234"


class Holder(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)
    token: Secret


def secret(value: object) -> Secret:
    return Holder.model_validate({"token": value}).token


def test_secret_in_the_environment_is_read_at_each_reveal(monkeypatch: pytest.MonkeyPatch) -> None:
    token = secret({"env": "ACME_TOKEN"})
    monkeypatch.setenv("ACME_TOKEN", "first\n")
    assert token.reveal() == "first"
    monkeypatch.setenv("ACME_TOKEN", "second")
    assert token.reveal() == "second"


def test_secret_in_a_file_is_read_at_each_reveal(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = secret({"file": str(path)})
    path.write_text("first\r\n\n", "utf-8")
    assert token.reveal() == "first"
    path.write_text("\ufeffsecond ", "utf-8")
    assert token.reveal() == "second"


def test_secret_as_text_is_itself() -> None:
    assert secret(f"{VALUE}\n").reveal() == VALUE


def test_secret_of_several_lines_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("-----BEGIN\nabc\n-----END\n", "utf-8")
    assert secret({"file": str(path)}).reveal() == "-----BEGIN\nabc\n-----END"


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_variable_that_is_not_set_names_itself_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("ACME_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("ACME_TOKEN", value)
    with pytest.raises(SecretError) as raised:
        secret({"env": "ACME_TOKEN"}).reveal()
    assert "ACME_TOKEN is not set" in raised.value.message
    assert raised.value.hint.startswith("Set ACME_TOKEN")
    assert raised.value.code == "secret-not-set"
    assert isinstance(raised.value, CredentialsRefused)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfea\0", "UTF-16, not UTF-8"),
        (b"\x30\x82\x04\xbd\xff", "DER or PKCS#12"),
        (b"a\xff", "not UTF-8"),
        (b"x" * 2**21, "larger"),
    ],
)
def test_file_without_a_secret_names_itself_and_the_remedy(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SecretError) as raised:
        secret({"file": str(path)}).reveal()
    assert str(path) in raised.value.message
    assert why in raised.value.message
    assert raised.value.hint
    assert raised.value.code == "secret-unreadable"


def test_folder_in_place_of_a_file_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="Is a directory"):
        secret({"file": str(tmp_path)}).reveal()


def test_nothing_that_prints_a_secret_shows_it() -> None:
    holder = Holder.model_validate({"token": VALUE})
    for shown in (
        repr(holder),
        str(holder.token),
        f"{holder.token}",
        str(holder.model_dump()),
        holder.model_dump_json(),
    ):
        assert VALUE not in shown


def test_secret_kept_elsewhere_prints_its_place() -> None:
    assert repr(secret({"env": "ACME_TOKEN"})) == "Secret(env: ACME_TOKEN)"
    assert repr(secret({"file": "/run/secrets/acme"})) == "Secret(file: /run/secrets/acme)"


def test_secrets_are_equal_when_they_are_kept_in_the_same_place() -> None:
    assert secret({"env": "A"}) == secret({"env": "A"}) == copy.deepcopy(secret({"env": "A"}))
    assert len({secret({"env": "A"}), secret({"env": "A"}), secret({"file": "A"}), secret("A")}) == 3
    assert secret({"env": "A"}) != "A"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "must not be empty"),
        (" \n", "must not be empty"),
        (123456789012, "put it in quotes"),
        (True, "put it in quotes"),
        (None, "{env: NAME}"),
        ([VALUE], "{env: NAME}"),
        ({}, "{env: NAME}"),
        ({"environment": VALUE}, "{env: NAME}"),
        ({f"env:{VALUE}": None}, "space after the colon"),
        ({"env": "A", "file": VALUE}, "{env: NAME}"),
        ({"env": VALUE}, "name of an environment variable"),
        ({"env": ""}, "name of an environment variable"),
        ({"env": 1}, "{env: NAME}"),
        ({"file": ""}, "path of the file"),
        ({"file": f"{VALUE}\nmore"}, "path of the file"),
        ({"file": "a\0b"}, "path of the file"),
    ],
)
def test_value_that_is_no_secret_is_refused_without_repeating_it(value: object, why: str) -> None:
    with pytest.raises(ValidationError) as raised:
        secret(value)
    assert why in str(raised.value)
    assert VALUE not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        '{"env": "ACME_TOKEN"}',
        "{'env': 'ACME_TOKEN'}",
        "{env: ACME_TOKEN}",
        '  {"env":"ACME_TOKEN"}\n',
        '{ env : "ACME_TOKEN" }',
    ],
)
def test_reference_that_is_spelled_as_text_is_the_reference(text: str) -> None:
    assert secret(text) == secret({"env": "ACME_TOKEN"})
    assert secret(text.replace("env", "file")) == secret({"file": "ACME_TOKEN"})


@pytest.mark.parametrize(
    "text",
    [
        f'{{"env": "{VALUE}"}}',
        '{"env": "A", "file": "B"}',
        '{"env": ["A"]}',
        "{env: }",
        "env:ACME_TOKEN",
        "file:/run/secrets/acme",
        f'"{VALUE}"',
        f"'{VALUE}'",
        "${ACME_TOKEN}",
        "$ACME_TOKEN",
        "{{ .Values.token }}",
        "<your token>",
        "<no value>",
        "null",
        "None",
        "changeme",
        "CHANGE_ME",
        "…",
    ],
)
def test_text_that_is_surely_no_secret_is_refused_wherever_it_stands(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError) as refused:
        secret(text)
    assert VALUE not in str(refused.value)

    if not text.startswith(("env:", "file:")):
        monkeypatch.setenv("ACME_TOKEN", text)
        (tmp_path / "token").write_text(text, "utf-8")
        for place, where in ({"env": "ACME_TOKEN"}, "ACME_TOKEN"), ({"file": str(tmp_path / "token")}, str(tmp_path)):
            with pytest.raises(SecretError) as raised:
                secret(place).reveal()
            assert raised.value.code == "secret-invalid"
            assert where in raised.value.message
            assert VALUE not in raised.value.message + raised.value.hint


@pytest.mark.parametrize("around", [" {}", "{} ", "\t{}\r\n", "\ufeff{}\n\n", "\n{}"])
def test_white_space_around_a_secret_is_no_part_of_it(around: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", around.format(VALUE))
    assert secret({"env": "ACME_TOKEN"}).reveal() == VALUE
    assert secret(around.format(VALUE)).reveal() == VALUE


@pytest.mark.parametrize("text", ["Bearer s3cret-Value", "SSWS s3cret", "s3cret Value", "s3cret\nValue", "s3crét"])
def test_token_that_no_header_can_carry_is_the_configurations_fault(text: str) -> None:
    token = Secret("value", text)
    with pytest.raises(SecretError) as raised:
        token.reveal_token()
    assert raised.value.code == "secret-invalid"
    assert "s3cr" not in raised.value.message + raised.value.hint
    assert ("Authorization header" in raised.value.message) == text.startswith(("Bearer", "SSWS"))


def test_secret_that_is_one_already_stays_as_it_is() -> None:
    token = Secret("env", "ACME_TOKEN")
    assert secret(token) is token


def test_revealed_values_are_known_for_redaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", "a-value-that-no-other-test-has")
    token = secret({"env": "ACME_TOKEN"})
    assert "a-value-that-no-other-test-has" not in revealed_values()
    token.reveal()
    assert "a-value-that-no-other-test-has" in revealed_values()
