"""The Terraform modules use what the providers document, and declare what they refer to.

No provider can be installed here, so this is no `terraform validate`. The facts name the page of each resource. Where
Terraform itself is installed it checks the syntax, the format and the validations of the variables.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.okta.auth import SCOPES
from connectors.okta.jwk import public_jwk
from connectors.okta.new_key import KeyAlgorithm, create_key
from tests.guide_page import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "terraform"
MODULES = ["okta", "entra"]
SCHEMAS: Mapping[str, Any] = json.loads((Path(__file__).parent / "terraform_schemas.json").read_text("utf-8"))
META_ARGUMENTS = {"count", "for_each", "depends_on", "provider"}
HEADER = re.compile(r'^(\w+)((?: "[^"]*")*) \{(.*)$')
ARGUMENT = re.compile(r"^(\w+) *= ")
REFERENCE = re.compile(r"(?<![\w.\"])((?:data\.)?(?:okta|azuread)_\w+)\.(\w+)(?:\[[^]]*\])?(?:\.(\w+))?")
VARIABLE = re.compile(r"(?<![\w.])var\.(\w+)")


@dataclass
class Block:
    """A block of HCL as `terraform fmt` writes it: one argument or header in a line."""

    kind: str
    labels: tuple[str, ...]
    arguments: dict[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the block's own name, also where it is made for each element."""
        return self.labels[0] if self.kind == "dynamic" else self.kind

    @property
    def content(self) -> Block:
        return next((each for each in self.blocks if each.kind == "content"), self) if self.kind == "dynamic" else self


def text_of(module: str) -> str:
    return "\n".join(file.read_text("utf-8") for file in sorted((FOLDER / module).glob("*.tf")))


def without_comments(text: str) -> str:
    return re.sub(r"^\s*#.*$", "", text, flags=re.M)


def blocks_of(module: str) -> list[Block]:
    root = Block("root", ())
    open_blocks = [root]
    inner = 0
    for raw in without_comments(text_of(module)).splitlines():
        line = raw.strip()
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line)
        if inner == 0 and (argument := ARGUMENT.match(line)):
            open_blocks[-1].arguments[argument[1]] = line[argument.end() :]
        elif inner == 0 and (header := HEADER.match(line)):
            block = Block(header[1], tuple(re.findall(r'"([^"]*)"', header[2])))
            open_blocks[-1].blocks.append(block)
            if header[3] != "}":
                open_blocks.append(block)
            continue
        elif inner == 0 and line == "}":
            open_blocks.pop()
            continue
        inner += sum(map(bare.count, "([{")) - sum(map(bare.count, ")]}"))
    assert (open_blocks, inner) == ([root], 0), "the brackets do not match"
    return root.blocks


def declared(module: str) -> Iterator[Block]:
    return (block for block in blocks_of(module) if block.kind in {"resource", "data"})


def check(block: Block, schema: Mapping[str, Any], place: str) -> None:
    content = block.content
    used = content.arguments.keys() - META_ARGUMENTS
    assert used <= set(schema["arguments"]), f"{place}: {used - set(schema['arguments'])} is not documented"
    assert set(schema["required"]) <= used, f"{place}: {set(schema['required']) - used} is required"
    for each in content.blocks:
        if each.kind == "lifecycle":
            continue
        assert each.name in schema.get("blocks", {}), f"{place}: the block {each.name} is not documented"
        check(each, schema["blocks"][each.name], f"{place}.{each.name}")


@pytest.mark.parametrize("module", MODULES)
def test_every_argument_is_documented_by_the_provider(module: str) -> None:
    found = list(declared(module))

    assert len(found) >= 6
    for block in found:
        check(block, SCHEMAS[f"{block.kind} {block.labels[0]}"], ".".join(block.labels))


@pytest.mark.parametrize("module", MODULES)
def test_every_reference_leads_to_something_declared(module: str) -> None:
    text = without_comments(text_of(module))
    known = {
        (f"data.{each.labels[0]}" if each.kind == "data" else each.labels[0], each.labels[1])
        for each in declared(module)
    }
    references = list(REFERENCE.finditer(text))

    assert references
    for reference in references:
        kind, name, attribute = reference.groups()
        assert (kind, name) in known, reference[0]
        schema = SCHEMAS[f"{'data' if kind.startswith('data.') else 'resource'} {kind.removeprefix('data.')}"]
        assert attribute is None or attribute in {*schema["attributes"], *schema["arguments"]}, reference[0]
    for name in re.findall(r"local\.(\w+)", text):
        (values,) = (each for each in blocks_of(module) if each.kind == "locals")
        assert name in values.arguments, name


@pytest.mark.parametrize("module", MODULES)
def test_variables_are_declared_used_and_described(module: str) -> None:
    variables = {each.labels[0]: each for each in blocks_of(module) if each.kind == "variable"}
    page = (REPOSITORY / "docs" / "terraform.md").read_text("utf-8")

    assert variables.keys() == set(VARIABLE.findall(without_comments(text_of(module))))
    for name, variable in variables.items():
        assert variable.arguments.keys() >= {"description", "type"}, name
        assert f"| `{name}` |" in page, name


def test_service_app_of_okta_gets_what_the_connector_asks_for_and_no_more() -> None:
    blocks = {each.labels[0]: each for each in declared("okta")}
    scopes = set(json.loads(blocks["okta_app_oauth_api_scope"].arguments["scopes"]))
    permissions = set(json.loads(blocks["okta_admin_role_custom"].arguments["permissions"]))

    assert scopes == set(SCOPES.split())
    assert permissions == set(SCHEMAS["resource okta_admin_role_custom"]["values"]["permissions"])
    assert blocks["okta_app_oauth"].arguments["token_endpoint_auth_method"] == '"private_key_jwt"'
    assert "dpop_bound_access_tokens" in blocks["okta_app_oauth"].arguments


def test_application_of_entra_gets_the_permissions_of_the_guide_and_no_more() -> None:
    guide = (REPOSITORY / "docs" / "entra.md").read_text("utf-8")
    documented = set(re.findall(r"^ +\| `(\w+(?:\.\w+)+)` \|", guide, re.M))

    assert set(re.findall(r'"([A-Z]\w+(?:\.\w+)*\.(?:All|Hidden))"', text_of("entra"))) == documented


def terraform(*arguments: str, folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    settings = home / "terraform.rc"
    settings.touch()
    environment = os.environ | {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": str(settings), "TF_IN_AUTOMATION": "1"}
    return subprocess.run(
        ["terraform", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_terraform_reads_the_modules_and_finds_their_format_right(tmp_path: Path) -> None:
    # Terraform is no package of Debian, so a machine without it has only the tests above.
    if shutil.which("terraform") is None:
        return
    ran = terraform("fmt", "-check", "-diff", "-recursive", folder=FOLDER, home=tmp_path)

    assert (ran.returncode, ran.stdout) == (0, ""), ran.stdout + ran.stderr


JWK = json.dumps(dict(create_key(KeyAlgorithm.ES256).jwk))
GOOD_OKTA = {
    "org_url": '"https://acme.okta.com"',
    "app_ids": '["0oa1"]',
    "group_ids": '["00g1"]',
    "public_jwk": json.dumps(JWK),
}
CERTIFICATE = json.dumps("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----")


@pytest.mark.parametrize(
    ("module", "values", "message"),
    [
        ("okta", GOOD_OKTA, ""),
        ("okta", GOOD_OKTA | {"org_url": '"https://acme.okta.com/"'}, "Write the org's root without a slash"),
        ("okta", GOOD_OKTA | {"app_ids": "[]"}, "at least one application"),
        ("okta", GOOD_OKTA | {"group_ids": "[]"}, "at least one group"),
        ("okta", GOOD_OKTA | {"public_jwk": '"-----BEGIN PUBLIC KEY-----"'}, "Paste the public JWK with its kid"),
        (
            "okta",
            GOOD_OKTA | {"public_jwk": json.dumps(json.dumps({**json.loads(JWK), "d": "x"}))},
            "without any private",
        ),
        ("entra", {}, ""),
        ("entra", {"certificate": CERTIFICATE}, ""),
        ("entra", {"certificate": '"-----BEGIN PRIVATE KEY-----"'}, "Give the certificate alone"),
    ],
)
def test_terraform_checks_the_variables(tmp_path: Path, module: str, values: dict[str, str], message: str) -> None:
    if shutil.which("terraform") is None:
        return
    (tmp_path / "variables.tf").write_text((FOLDER / module / "variables.tf").read_text("utf-8"))
    (locals_text,) = re.findall(r"^locals \{.*?^\}$", (FOLDER / module / "main.tf").read_text("utf-8"), re.M | re.S)
    (tmp_path / "locals.tf").write_text(locals_text + '\noutput "shown" {\n  value = "x"\n}\n')
    (tmp_path / "terraform.tfvars").write_text("".join(f"{name} = {value}\n" for name, value in values.items()))

    ran = terraform("plan", "-input=false", "-no-color", folder=tmp_path, home=tmp_path)

    said = " ".join(re.sub(r"[│╷╵]", " ", ran.stdout + ran.stderr).split())
    assert (ran.returncode, message in said) == (bool(message), True), said


def test_facts_are_about_a_key_that_okta_key_makes() -> None:
    members = public_jwk(ec.generate_private_key(ec.SECP256R1())).keys() | {"n", "e"}

    assert members - {"crv"} <= set(SCHEMAS["resource okta_app_oauth"]["blocks"]["jwks"]["arguments"])
