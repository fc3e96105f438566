"""The provider that docs/adding-a-provider.md builds works with a package and a line in the registry."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.registry import PROVIDERS
from tests.copied_source import copy_source

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-provider.md").read_text("utf-8")
BLOCK = re.compile(r"<!-- (file|line): (\w+\.py) -->\n```(?:python|text)\n(.*?)```", re.DOTALL)
NAME = "roster"
TYPES = [*(provider.type_key for provider in PROVIDERS), NAME]
READ = """
import asyncio
import httpx
from connectors.base import Source
from connectors.provider import ConnectorContext
from connectors.registry import PROVIDERS
from connectors.secret import Secret

ANN = {"id": "u1", "email": "ann@example.com", "name": "Ann Lee", "status": "active", "groups": ["g1"]}
BOB = {"id": "u2", "email": "bob@example.com", "name": "Bob Ray", "status": "disabled", "groups": ["g1"]}
ROUTES = {
    "/apps": {"apps": []},
    "/apps/app1": {"id": "app1", "name": "Pigment", "groups": [{"id": "g1", "name": "Sales"}]},
    "/users/u1": ANN,
    "/groups/g1/members": {"users": [ANN]},
    "/groups/g1/members?page=2": {"users": [BOB]},
}


def answer(request):
    path = request.url.raw_path.decode()
    if path not in ROUTES:
        return httpx.Response(404, json={"error": "no_such_user"})
    more = {"Link": '</groups/g1/members?page=2>; rel="next"'} if path == "/groups/g1/members" else {}
    return httpx.Response(200, json=ROUTES[path], headers=more)


async def read():
    provider = PROVIDERS[-1]
    settings = provider.settings(type="roster", roster_url="https://roster.example.com", api_key=Secret("value", "k1"))
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        connector = provider.create("hq", settings, ConnectorContext(client))
        source = Source("hq", "app1")
        snapshot = await connector.read(source)
        for person in snapshot.people:
            print(person.id, person.email, person.status, person.groups)
        print((await connector.lookup("u1", source)).is_assigned, (await connector.lookup("u9", source)).status)
        for finding in await connector.check([source]):
            print(finding.level, finding.message)
        ROUTES["/groups/g1/members?page=2"] = {"users": None}
        connector.clear_cache()
        try:
            await connector.read(source)
        except Exception as error:
            print(type(error).__name__)


asyncio.run(read())
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the product with the page's provider in it."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("agent", "connectors"):
        copy_source(ROOT / name, folder / name)
    package = folder / "connectors" / NAME
    package.mkdir()
    registry = folder / "connectors" / "registry.py"
    for kind, name, code in BLOCK.findall(PAGE):
        if kind == "file":
            (package / name).write_text(code, "utf-8")
            continue
        text = registry.read_text("utf-8")
        text, added = re.subn(r"^(PROVIDERS: [^\n]* = \(\n[^)]*)\)", rf"\g<1>{code})", text, flags=re.MULTILINE)
        text, imported = re.subn(
            r"^(?=from connectors import)", f"from connectors import {NAME}\n", text, flags=re.MULTILINE
        )
        assert (added, imported) == (1, 1), text
        registry.write_text(text, "utf-8")
    return folder


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "120"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_page_has_the_seven_modules_of_a_provider(tree: Path) -> None:
    names = {path.name for path in (tree / "connectors" / NAME).glob("*.py")}
    assert names == {
        f"{name}.py" for name in ["__init__", "auth", "client", "connector", "mapping", "settings", "snapshot"]
    }
    for provider in PROVIDERS:
        package = Path(inspect.getfile(provider.settings)).parent
        assert names <= {path.name for path in package.glob("*.py")}, package


def test_provider_of_the_page_reads_looks_up_and_checks(tree: Path) -> None:
    done = run(tree, "-c", READ)
    assert done.stdout.splitlines() == [
        "u1 ann@example.com active ('g1',)",
        "u2 bob@example.com suspended ('g1',)",
        "True deleted",
        "ok Roster reachable, credentials accepted.",
        "ok Pigment: 2 people can be read.",
        "ok person u1 can be read by id: active",
        "ok the groups of person u1 can be read: 1",
        "IncompleteRead",
    ], done.stderr


def test_init_offers_the_provider_and_its_option(tree: Path) -> None:
    usage = run(tree, "-m", "agent", "init", "--help").stdout
    assert f"[{'|'.join(TYPES)}]" in usage
    assert "--roster-url URL" in usage
    assert "Roster: the URL of the server" in usage
    wrong = run(tree, "-m", "agent", "init", "--provider", "roster", "--subdomain", "acme", "--out", "wrong.yaml")
    assert "--subdomain: not for Roster." in wrong.stderr


def test_file_that_init_writes_is_a_valid_configuration(tree: Path) -> None:
    written = run(
        tree,
        *("-m", "agent", "init", "--provider", "roster", "--roster-url", "https://roster.example.com", "--app", "app1"),
        *("--scim-url", "https://eu.example.com/scim/v2", "--out", "roster.yaml"),
    )
    assert written.returncode == 0, written.stderr
    load = (
        "from pathlib import Path; from agent.settings.load import load; from agent.settings.target import tenant_of; "
        "print(tenant_of(load(Path('roster.yaml'), {}).connectors['roster']))"
    )
    assert run(tree, "-c", load).stdout == "roster https://roster.example.com\n"


def test_message_for_an_unknown_type_lists_the_provider(tree: Path) -> None:
    (tree / "unknown.yaml").write_text("connectors: {a: {type: nothing}}\n", "utf-8")
    refused = run(tree, "-m", "agent", "--config", "unknown.yaml", "plan")
    assert f"write type: {', '.join(TYPES[:-1])} or {NAME}" in refused.stderr
