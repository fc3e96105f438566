"""The documents about the configuration match the settings: the example file and the page of all keys."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from agent.settings.load import load
from agent.settings.template import PROVIDERS_BY_TYPE
from scripts.gen_config_reference import key_tables, updated_document

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.yaml"
PAGE = ROOT / "docs" / "configuration.md"


def documented() -> list[tuple[str, str]]:
    """Return each key with the title of its section."""
    found, section = [], ""
    for line in key_tables().splitlines():
        if line.startswith("### "):
            section = line
        elif match := re.match(r"\| `(\w+)` \|", line):
            found.append((section, match[1]))
    return found


def test_example_is_a_valid_configuration() -> None:
    settings = load(EXAMPLE, {})
    assert [each.type for each in settings.connectors.values()] == list(PROVIDERS_BY_TYPE), (
        "add a block of the provider"
    )
    assert {workspace.mode for workspace in settings.workspaces.values()} == {"dry-run"}


def test_example_has_every_key() -> None:
    text = EXAMPLE.read_text("utf-8")
    missing = [key for key in documented() if not re.search(rf"(?:^|[\s{{]){key[1]}:", text)]
    assert len(documented()) > 60
    assert missing == [], "add them to config.example.yaml"


def test_example_shows_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "connectors: {o: {type: okta, org_url: 'https://acme.okta.com', api_token: x}}\n"
        "workspaces: {w: {scim_url: 'https://x.example.com', tokens: [x], sources: [{connector: o, app: x}]}}\n",
        "utf-8",
    )
    example, least = load(EXAMPLE, {}), load(path, {})
    for section in ("limits", "approvals", "pigment", "notify", "server", "ca_bundle", "http", "log"):
        assert getattr(example, section) == getattr(least, section)
    shown, default = example.workspaces["pigment-latam"], least.workspaces["w"]
    for key in ("mode", "unmanaged", "individual_assignments", "grace_reads", "limits", "toggles", "total_results"):
        assert getattr(shown, key) == getattr(default, key)
    okta, plain = example.connectors["okta-main"].model_dump(), least.connectors["o"].model_dump()
    for key in ("rate_limit_share", "entitled_statuses", "aliases"):
        assert okta[key] == plain[key]


def test_example_names_no_real_person_or_host() -> None:
    hosts = re.findall(r"(?:https://|@)([\w.-]*\w)", EXAMPLE.read_text("utf-8"))
    assert hosts
    allowed = re.compile(r"(?:[\w-]+\.)*(?:example|acme)\.com(?:\.br)?|acme\.(?:okta|onelogin)\.com|db")
    assert [host for host in hosts if not allowed.fullmatch(host)] == []


def test_page_lists_every_key_as_the_settings_have_it() -> None:
    text = PAGE.read_text("utf-8")
    assert updated_document(text) == text, "run scripts/config-docs"


def test_every_key_has_a_description() -> None:
    silent = [line for line in key_tables().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert [line for line in silent if not line.startswith("| `type`")] == []


def test_script_writes_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- keys: begin -->stale<!-- keys: end -->\n", "utf-8")
    subprocess.run([sys.executable, "-m", "scripts.gen_config_reference", str(page)], cwd=ROOT, check=True)
    assert page.read_text("utf-8") == updated_document("<!-- keys: begin --><!-- keys: end -->\n")


def test_page_is_generated_between_its_marks_only() -> None:
    old = "before <!-- keys: begin -->stale<!-- keys: end --> after"
    new = updated_document(old)
    assert new.startswith("before <!-- keys: begin -->\n\n### The whole file")
    assert new.endswith("<!-- keys: end --> after")
    assert "stale" not in new
    assert "| `grace_reads` | whole number, at least 1, at most 1000 | `1` |" in new
    assert "### `connectors.NAME (type: entra)`" in new
    assert "### `workspaces.NAME.sources[]`" in new
