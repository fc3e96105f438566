"""Links on the page, with the real daemon and the sandbox: listed, shown before they are written, and journalled."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from agent.metrics import Metrics
from agent.model import GroupRef, LastSeen, Link, Memory
from agent.model.run import Trigger
from agent.settings.server import ServerSettings
from agent.settings.token import hashed_token
from agent.web.app import application
from agent.web.link_pages import link_rows
from connectors.base import PersonKey
from connectors.secret import Secret
from sandbox.server import Sandbox
from tests.integration.test_api_approvals import TOKENS
from tests.integration.test_daemon import LATAM, Harness, at_home, run_request, sandbox, written
from tests.integration.test_page_approvals import Visitor

__all__ = ["sandbox"]

PATH = f"/workspaces/{LATAM}/links"


@dataclass
class LinkVisitor(Visitor):
    """A visitor of a real daemon."""

    harness: Harness

    async def links(self) -> tuple[Link, ...]:
        return (await self.harness.shared.state.load_memory(LATAM)).links

    async def emails(self) -> dict[str, str]:
        """Return the email of each member, by SCIM id."""
        memory = await self.harness.shared.state.load_memory(LATAM)
        return {member.scim_id: member.email for member in memory.last_seen or ()}

    async def post(self, **fields: str) -> tuple[int, str, dict[str, str]]:
        """Send the form, and return the words and the hidden fields of the answer."""
        csrf = re.search(r'name="csrf" value="([^"]+)"', (await self.client.get("/")).text)
        assert csrf
        answer = await self.client.post(PATH, data={"csrf": csrf[1], **fields})
        words = " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())
        hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', answer.text))
        return answer.status_code, words, {name: unescape(value) for name, value in hidden.items()}


@pytest.fixture
def home(sandbox: Sandbox, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
    return at_home(written(sandbox, tmp_path))


@pytest.fixture
async def visitor(home: AbstractAsyncContextManager[Harness]) -> AsyncIterator[LinkVisitor]:
    entries = [Secret("value", str(hashed_token(f"token-of-{name}", role, name))) for name, role in TOKENS.items()]
    server = ServerSettings(tokens=tuple(entries))
    async with home as harness:
        await harness.daemon.request_run(run_request())
        await harness.idle()
        app = application(harness.daemon, Metrics(CollectorRegistry()), lambda: server, httpx.AsyncHTTPTransport)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            found = LinkVisitor(client, harness)
            await found.log_in("ann")
            yield found


async def test_links_are_listed_and_searched(visitor: LinkVisitor) -> None:
    links, emails = await visitor.links(), await visitor.emails()
    first, other = links[0], links[1]
    everyone = await visitor.read(PATH)
    assert f"Links {len(links)}" in everyone
    for link in (first, other):
        assert f"{link.person.connector}:{link.person.id}" in everyone
        assert emails[link.scim_id] in everyone

    one = await visitor.read(f"{PATH}?q={first.person.id}")
    assert emails[first.scim_id] in one
    assert other.person.id not in one
    assert f"1 of {len(links)}" in one
    assert "No link has all of these words." in await visitor.read(f"{PATH}?q=nothing-like-it")


async def test_removal_is_shown_before_it_is_written_and_journalled(visitor: LinkVisitor) -> None:
    links, emails = await visitor.links(), await visitor.emails()
    person = f"{links[0].person.connector}:{links[0].person.id}"
    status, words, hidden = await visitor.post(action="forget", person=person)

    assert status == 200
    assert f"Unlink {emails[links[0].scim_id]} from {person}" in words
    assert "keeps its access even if the person leaves" in words
    assert "Nothing is sent to Pigment now." in words
    assert await visitor.links() == links, "nothing is written yet"

    status, words, _ = await visitor.post(**hidden | {"reason": " … "})
    assert (status, "A correction needs a reason. No link was written." in words) == (422, True)
    assert await visitor.links() == links

    status, _, _ = await visitor.post(**hidden | {"reason": "removed by support"})
    assert status == 303
    assert await visitor.links() == links[1:]
    run = (await visitor.harness.shared.state.load_runs([LATAM], limit=1))[0]
    assert (run.trigger, run.by, run.reason) == (Trigger.LINKS, "ann", "removed by support")
    shown = await visitor.read(PATH)
    assert f"by ann : removed by support Unlinked member {links[0].scim_id} from {person}" in shown
    assert f"Unlinked member {links[0].scim_id} from {person}" in await visitor.read(f"/runs/{run.id}")


async def test_member_is_linked_to_another_person(visitor: LinkVisitor) -> None:
    links, emails = await visitor.links(), await visitor.emails()
    connector = links[0].person.connector
    given = {"action": "assign", "email": emails[links[0].scim_id], "person": f"{connector}:another"}
    _, words, hidden = await visitor.post(**given)
    assert f"Link {given['email']} to {connector}:another, previously {connector}:{links[0].person.id}" in words

    assert (await visitor.post(**hidden | {"reason": "a new account"}))[0] == 303
    assert PersonKey(connector, "another") in {link.person for link in await visitor.links()}
    _, words, hidden = await visitor.post(**given)
    assert "There is nothing to write" in words
    assert "shown" not in hidden


async def test_edits_other_than_those_shown_are_not_written(visitor: LinkVisitor) -> None:
    links, emails = await visitor.links(), await visitor.emails()
    connector = links[0].person.connector
    _, _, hidden = await visitor.post(action="assign", email=emails[links[0].scim_id], person=f"{connector}:another")
    taken = {"action": "assign", "email": emails[links[1].scim_id], "person": f"{connector}:another"}
    _, _, other = await visitor.post(**taken)
    assert (await visitor.post(**other | {"reason": "it is theirs"}))[0] == 303

    status, words, hidden = await visitor.post(**hidden | {"reason": "a new account"})
    assert status == 422
    assert "The links have changed since they were shown. No link was written." in words
    assert f"Unlink {emails[links[1].scim_id]} from {connector}:another" in words, "the new edits are shown"
    owner = {link.scim_id: link.person.id for link in await visitor.links()}
    assert owner[links[1].scim_id] == "another"
    assert (await visitor.post(**hidden | {"reason": "a new account"}))[0] == 303


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"action": "assign", "email": "no@acme.com", "person": "okta-main:1"}, "has no members with the email no@"),
        ({"action": "assign", "email": "no@acme.com", "person": "elsewhere:1"}, "elsewhere is not a source of"),
        ({"action": "forget", "person": "okta-main:absent"}, "has no link for okta-main:absent."),
        ({"action": "forget", "person": "<b>"}, "<b> is not a person."),
        ({"action": "assign", "person": "okta-main:1"}, "The form is not complete."),
        ({"action": "move", "person": "okta-main:1"}, "The form is not complete."),
    ],
)
async def test_correction_that_cannot_be_made_is_refused_with_the_reason(
    visitor: LinkVisitor, fields: dict[str, str], why: str
) -> None:
    links = await visitor.links()
    status, words, hidden = await visitor.post(**fields, shown="0", reason="a try")
    assert (status, why in words, "shown" in hidden) == (422, True, False), words
    assert await visitor.links() == links


async def test_reader_sees_links_and_can_not_correct_them(visitor: LinkVisitor) -> None:
    person = str((await visitor.links())[0].person.id)
    await visitor.log_in("rea")
    page = (await visitor.client.get(PATH)).text
    assert person in page
    assert "Correct a link" not in page
    assert f'method="post" action="{PATH}"' not in page
    assert (await visitor.post(action="forget", person=person))[0] == 403


async def test_form_of_another_site_is_refused(visitor: LinkVisitor) -> None:
    links = await visitor.links()
    fields = {"action": "forget", "person": f"{links[0].person.connector}:{links[0].person.id}", "reason": "a try"}
    assert (await visitor.client.post(PATH, data=fields)).status_code == 403
    assert await visitor.links() == links


async def test_unknown_workspace_has_no_links(visitor: LinkVisitor) -> None:
    assert (await visitor.client.get("/workspaces/nowhere/links")).status_code == 404


def test_rows_are_searched_by_every_column_and_sorted_by_email() -> None:
    ann, bea, cid = (PersonKey("okta-main", name) for name in ("00u1", "00u2", "00u3"))
    memory = Memory(
        (Link(bea, "m2", (GroupRef("g", "Planners"),)), Link(ann, "m1"), Link(cid, "m3")),
        last_seen=(
            LastSeen(scim_id="m1", email="Zoe@acme.com", display_name="Zoe Lee", active=False),
            LastSeen(scim_id="m2", email="bea@acme.com", display_name="Bea", active=True),
        ),
    )
    rows = link_rows(memory, "")
    assert [(row.email, row.is_inactive) for row in rows] == [
        ("", False),
        ("bea@acme.com", False),
        ("Zoe@acme.com", True),
    ]
    for words, expected in (
        ("zoe LEE", ["m1"]),
        ("planners", ["m2"]),
        ("okta-main:00u3", ["m3"]),
        ("m2", ["m2"]),
        ("zoe planners", []),
    ):
        assert [row.scim_id for row in link_rows(memory, words)] == expected, words
