"""The agent keeps workspaces in sync on two third-party SCIM servers: real processes, real HTTP.

The tests read the truth from the servers themselves, and change people through the sandbox's admin address.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.server import Sandbox, run_sandbox
from tests import plain_http
from tests.contract.scim_servers import TOKEN, django_scim2_server, scim2_server
from tests.e2e.agent_process import Agent, Ran
from tests.e2e.ended_process import unlimited
from tests.e2e.scim_hosts import Target, serving

OFFICES = {"scim2-server": "okta", "django-scim2-server": "onelogin"}
GROUPS = {"okta": "Pigment LatAm", "onelogin": "Pigment APAC"}
# What the two providers call people who still have their account; OneLogin's Jun is unlicensed, a separate case.
HERE = {"ACTIVE", "LOCKED_OUT", "PASSWORD_EXPIRED", "PROVISIONED", "0", "1", "3"}
UNLICENSED = "jun.wang@acme.com"
WORDS = ("Left", "Suspended", "Quit", "Renamed", "Married", "Readdressed", "Taker", "Giver")

Rows = dict[str, dict[str, Any]]


@dataclass
class Harness:
    """One directory of the sandbox, as its admin address shows and changes it."""

    sandbox: Sandbox
    directory: str
    ids: dict[str, str] = field(default_factory=dict)

    def _post(self, path: str, **body: object) -> dict[str, Any]:
        answer = plain_http.post(f"{self.sandbox.admin_url}/people{path}", json=body)
        answer.raise_for_status()
        shown: dict[str, Any] = answer.json()
        return shown

    def hire(self, word: str) -> None:
        body = {"directory": self.directory, "given": word, "family": f"Öhman {self.directory.title()}"}
        self.ids[word] = self._post("", **body, groups=[GROUPS[self.directory]])["id"]

    def tell(self, word: str, action: str, **body: object) -> None:
        self._post(f"/{self.ids[word]}/{action}", **body)

    def email(self, given: str) -> str:
        answer = plain_http.get(f"{self.sandbox.admin_url}/people/{self.ids[given]}")
        return str(answer.json()["email"])

    def entitled(self) -> dict[str, str]:
        """Return the display names of all people who should be active members, by email."""
        people = plain_http.get(f"{self.sandbox.admin_url}/people", params={"directory": self.directory}).json()
        return {
            each["email"]: each["display_name"]
            for each in people
            if any(name.startswith(GROUPS[self.directory]) for name in each["groups"])
            and each["status"] in HERE
            and each["email"].lower().endswith("@acme.com")
            and each["email"] != UNLICENSED
        }

    def live_on(self) -> None:
        """Let people come, go, take other names and other addresses, one of them an address that is being left."""
        self.hire("Joiner")
        self.hire("Other joiner")
        self.tell("Left", "leave")
        self.tell("Suspended", "suspend")
        self.tell("Quit", "quit", group=GROUPS[self.directory])
        self.tell("Renamed", "rename", given="Newly", family="Named")
        self.tell("Married", "marry", family="Wedded")
        self.tell("Readdressed", "rename", email=f"new.{self.directory}@acme.com")
        freed = self.email("Giver")
        self.tell("Giver", "rename", email=f"giver.{self.directory}@acme.com")
        self.tell("Taker", "rename", email=freed)


@dataclass(frozen=True)
class WebhookEvents:
    """What was wanted and what a server listed after one sync; *emails* are those of the people by their names."""

    wanted: dict[str, str]
    listed: Rows
    emails: dict[str, str]

    def row(self, given: str) -> dict[str, Any]:
        (found,) = [row for row in self.listed.values() if row["userName"] == self.emails[given]]
        return found


@dataclass(frozen=True)
class Story:
    """Three syncs of both workspaces, and the plan after them."""

    syncs: list[Ran]
    stages: dict[str, list[WebhookEvents]]
    plan: Ran

    def counts(self, sync: int, name: str) -> dict[str, int]:
        found = {each["name"]: each["counts"] for each in json.loads(self.syncs[sync].out)["workspaces"]}
        return {kind: number for kind, number in found[name].items() if number and kind not in {"note", "in-sync"}}


def _configured(sandbox: Sandbox, targets: dict[str, Target], folder: Path) -> Agent:
    agent = unlimited(sandbox.write_config(folder))
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    sources = {each["sources"][0]["connector"].split("-")[0]: each["sources"] for each in _sites(document)}
    document["workspaces"] = {
        name: {
            "scim_url": target.url,
            "tokens": [target.token],
            "sources": sources[OFFICES[name]],
            "allowed_domains": ["acme.com"],
            "mode": "enforce",
        }
        for name, target in targets.items()
    }
    agent.config.write_text(yaml.safe_dump(document), "utf-8")
    return agent


def _sites(document: dict[str, Any]) -> list[dict[str, Any]]:
    return list(document["workspaces"].values())


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with ExitStack() as stack:
        sandbox = stack.enter_context(run_sandbox(seed=21, size=30))
        targets = {
            "scim2-server": stack.enter_context(serving(scim2_server(), TOKEN)),
            "django-scim2-server": stack.enter_context(serving(django_scim2_server(), "second-token")),
        }
        agent = _configured(sandbox, targets, tmp_path_factory.mktemp("second"))
        offices = {name: Harness(sandbox, directory) for name, directory in OFFICES.items()}
        made = Story([], {name: [] for name in OFFICES}, Ran(0, "", ""))

        def sync() -> None:
            made.syncs.append(agent.run("sync", "--format", "json"))
            for name, harness in offices.items():
                emails = {given: harness.email(given) for given in harness.ids}
                made.stages[name].append(WebhookEvents(harness.entitled(), targets[name].members(), emails))

        for harness in offices.values():
            for word in WORDS:
                harness.hire(word)
        sync()
        for harness in offices.values():
            harness.live_on()
        sync()
        for harness in offices.values():
            harness.tell("Suspended", "reinstate")
            harness.tell("Left", "rehire")
        sync()
        yield Story(made.syncs, made.stages, agent.run("plan", "--exit-code", "--format", "json"))


def shown(rows: Rows) -> dict[str, str]:
    """Return the name of every active member by email."""
    return {row["userName"]: _name(row) for row in rows.values() if row["active"] is True}


def _name(row: dict[str, Any]) -> str:
    """Return a member's name; the server without display names has its parts."""
    parts = row["name"]
    return str(row.get("displayName") or f"{parts.get('givenName', '')} {parts.get('familyName', '')}".strip())


@pytest.mark.parametrize("name", OFFICES)
def test_first_sync_brings_everyone_into_an_empty_workspace(name: str, story: Story) -> None:
    first = story.stages[name][0]

    assert story.syncs[0].code == 0, story.syncs[0].err
    assert len(first.wanted) > 20
    assert shown(first.listed) == first.wanted
    assert len(first.listed) == len(first.wanted), "nobody has two members"


@pytest.mark.parametrize("name", OFFICES)
def test_second_sync_follows_all_that_happened_to_people(name: str, story: Story) -> None:
    first, second = story.stages[name][:2]

    assert story.syncs[1].code == 0, story.syncs[1].out + story.syncs[1].err
    assert shown(second.listed) == second.wanted
    assert story.counts(1, name) == {
        "create": 2, "deactivate": 3, "update-name": 1, "update-email": 4, **held(story, name),
    }  # fmt: skip
    assert first.listed.keys() < second.listed.keys()
    assert len(second.listed) == len(first.listed) + 2
    emails = Counter(row["userName"].casefold() for row in second.listed.values())
    assert set(emails.values()) == {1}


def held(story: Story, name: str) -> dict[str, int]:
    """Return the holds of the first sync: they concern people of the sandbox who have not changed since."""
    return {kind: number for kind, number in story.counts(0, name).items() if kind == "hold"}


@pytest.mark.parametrize("name", OFFICES)
def test_new_name_and_new_email_are_on_the_same_member(name: str, story: Story) -> None:
    first, second = story.stages[name][:2]

    for word in ("Renamed", "Married", "Readdressed", "Taker", "Giver"):
        assert first.row(word)["id"] == second.row(word)["id"]
    assert second.row("Taker")["userName"] == first.row("Giver")["userName"]
    assert first.row("Married")["userName"] not in shown(second.listed)


@pytest.mark.parametrize("name", OFFICES)
def test_leavers_stay_as_inactive_members_and_come_back_as_the_same(name: str, story: Story) -> None:
    first, second, third = story.stages[name]

    active = {word: second.listed[first.row(word)["id"]]["active"] for word in ("Left", "Suspended", "Quit")}
    back = {word: third.listed[first.row(word)["id"]]["active"] for word in ("Left", "Suspended", "Quit")}
    assert active == {"Left": False, "Suspended": False, "Quit": False}
    assert back == {"Left": True, "Suspended": True, "Quit": False}
    assert story.counts(2, name) == {"reactivate": 2, **held(story, name)}
    assert shown(third.listed) == third.wanted
    assert third.listed.keys() == second.listed.keys()


def test_nothing_is_left_to_do_afterwards(story: Story) -> None:
    assert story.plan.code == 0, story.plan.err
    for workspace in json.loads(story.plan.out)["workspaces"]:
        assert workspace["status"] == "planned"
        assert workspace["changes"] == []
