"""The links of a workspace on the page: which member belongs to which person, and corrections of them.

A correction is shown before it is written, as `links move` does without `--yes`: the form comes back with the edits,
and its button writes those and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response

from agent.daemon.interface import LinkDecision, StaleLinks
from agent.engine.links import LinkCorrection, parse_person_key
from agent.errors import UsageError
from agent.model import LastSeen, Link, Memory
from agent.model.run import LinkEdit, Run, RunFilter, Trigger
from agent.report.link_edits import describe_link_edits, link_edits_digest
from agent.web.auth import Session
from agent.web.context import WebContext
from agent.web.page_frame import PageFrame

__all__ = ["LinkPages", "LinkRow", "link_rows"]

MAX_LINKS_SHOWN = 100
CORRECTIONS_SHOWN = 10
CORRECTION = RunFilter(triggers=frozenset({Trigger.LINKS}))
NO_REASON = "A correction needs a reason. No link was written."
ASSIGN, FORGET = "assign", "forget"


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A link with its member as the last run left it. *email* is empty if no run has recorded the member."""

    email: str
    display_name: str
    is_inactive: bool
    person: str
    scim_id: str
    groups: str


@dataclass(frozen=True, slots=True)
class LinkForm:
    """What the visitor filled in, and why it was refused."""

    action: str = ""
    email: str = ""
    person: str = ""
    reason: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class LinkReview:
    """The edits of a correction before they are written: in words, and their digest."""

    sentences: Sequence[str]
    digest: str


def link_rows(memory: Memory, words: str) -> list[LinkRow]:
    """Return the links of which the row contains each of *words*, sorted by the member's email."""
    members = {member.scim_id: member for member in memory.last_seen or ()}
    rows = [_row(link, members.get(link.scim_id)) for link in memory.links]
    wanted = words.lower().split()
    found = [row for row in rows if all(word in _searched_text(row) for word in wanted)]
    return sorted(found, key=lambda row: (row.email.lower(), row.person))


def _row(link: Link, member: LastSeen | None) -> LinkRow:
    groups = ", ".join(sorted(group.name for group in link.groups))
    person = f"{link.person.connector}:{link.person.id}"
    if member is None:
        return LinkRow("", "", False, person, link.scim_id, groups)
    return LinkRow(member.email, member.display_name, member.active is False, person, link.scim_id, groups)


def _searched_text(row: LinkRow) -> str:
    return f"{row.email} {row.display_name} {row.person} {row.scim_id} {row.groups}".lower()


class LinkPages:
    """The page of links, and the form that corrects one."""

    def __init__(self, context: WebContext, frame: PageFrame) -> None:
        self._context = context
        self._frame = frame

    async def show_links(self, request: HttpRequest, session: Session) -> Response:
        query = request.query_params
        form = LinkForm(email=query.get("email", ""), person=query.get("person", ""))
        return await self._render_links(request, session, form)

    async def correct_link(self, request: HttpRequest, session: Session, fields: dict[str, str]) -> Response:
        """Show the edits of a correction; with the digest of edits that were shown, write them."""
        name = request.path_params["name"]
        form = LinkForm(
            fields.get("action", ""),
            fields.get("email", "").strip(),
            fields.get("person", "").strip(),
            fields.get("reason", ""),
        )
        try:
            correction = _correction(form)
            edits = await self._context.daemon.plan_link_correction(name, correction)
        except UsageError as error:
            return await self._render_links(request, session, _refused(form, f"{error.message} {error.hint}"))
        digest = fields.get("shown", "")
        review = await self._review(name, correction, edits)
        if not edits or not digest:
            return await self._render_links(request, session, form, review)
        if not any(map(str.isalnum, form.reason)):
            return await self._render_links(request, session, _refused(form, NO_REASON), review)
        try:
            decision = LinkDecision(name, correction, digest, session.principal.name, form.reason)
            await self._context.daemon.correct_link(decision)
        except StaleLinks as error:
            return await self._render_links(request, session, _refused(form, f"{error.message} {error.hint}"), review)
        return RedirectResponse(f"/workspaces/{name}/links", 303)

    async def _review(self, name: str, correction: LinkCorrection, edits: Sequence[LinkEdit]) -> LinkReview:
        memory = await self._context.daemon.state.load_memory(name)
        emails = {member.scim_id: member.email for member in memory.last_seen or ()}
        if correction.email:
            # As the workspace shows it now.
            emails |= {edit.link.scim_id: correction.email for edit in edits if edit.link is not None}
        return LinkReview(describe_link_edits(edits, emails, is_done=False), link_edits_digest(edits))

    async def _render_links(
        self, request: HttpRequest, session: Session, form: LinkForm, review: LinkReview | None = None
    ) -> Response:
        daemon, words = self._context.daemon, request.query_params.get("q", "").strip()
        status = await daemon.load_workspace_status(request.path_params["name"])
        memory = await daemon.state.load_memory(status.name)
        rows = link_rows(memory, words)
        return self._frame.render(
            "links.html",
            session,
            422 if form.refusal else 200,
            workspace=status,
            form=form,
            review=review,
            words=words,
            rows=rows[:MAX_LINKS_SHOWN],
            found=len(rows),
            total=len(memory.links),
            corrections=await self._load_corrections(status.name),
        )

    async def _load_corrections(self, name: str) -> list[tuple[Run, Sequence[str]]]:
        """Return the newest runs that corrected links, each with its edits in words."""
        state = self._context.daemon.state
        runs = await state.load_runs([name], limit=CORRECTIONS_SHOWN, where=CORRECTION)
        return [(run, describe_link_edits(await state.load_link_edits(run.id), {}, is_done=True)) for run in runs]


def _correction(form: LinkForm) -> LinkCorrection:
    """Return what *form* asks for. Raises `UsageError`."""
    if form.action not in {ASSIGN, FORGET} or (form.action == ASSIGN and not form.email):
        raise UsageError("The form is not complete.", "Send the email of a member and its person, or only the person.")
    return LinkCorrection(parse_person_key(form.person), form.email if form.action == ASSIGN else "")


def _refused(form: LinkForm, refusal: str) -> LinkForm:
    return replace(form, refusal=refusal)
