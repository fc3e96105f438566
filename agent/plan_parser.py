"""Parse plan documents, and trust nothing in them: what was cut, edited or made by another version is refused."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import orjson
from pydantic import Discriminator, TypeAdapter, ValidationError

from agent.errors import UsageError
from agent.model import Plan, Unplanned
from agent.report.diff import diff_lines
from agent.report.document import counts_of, document_digest, has_own_digest, workspace_object
from agent.report.escape import escape_control
from agent.report.schema import VERSION, Document, WorkspaceObject

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["describe_difference", "parse_document", "parse_workspace"]

NEW_PLAN_HINT = "Make a new one with `pigment-sync plan --out FILE`."


EXPECTATIONS = {
    "missing": "is missing",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number, 0 or more",
    "greater_than_equal": "must be a whole number, 0 or more",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_attributes_type": "must be an object",
}


# Built where a document is parsed: most commands parse none, and building them is a tenth of the start of a command.
@cache
def document_schema() -> TypeAdapter[Document]:
    return TypeAdapter(Document)


@cache
def workspaces_schema() -> TypeAdapter[list[dict[str, object]]]:
    return TypeAdapter(list[dict[str, object]])


@cache
def workspace_schema() -> TypeAdapter[WorkspaceObject]:
    return TypeAdapter(Annotated[WorkspaceObject, Discriminator("status")])


def parse_document(raw: bytes, name: str = "the plan file") -> Document:
    """Return the plan document in *raw*, or raise `UsageError` naming what is wrong. *name* is used in messages."""
    value = _parse_json(raw, name)
    if not isinstance(value, dict) or "version" not in value:
        _refuse(f"{_capitalize(name)} is JSON, but not a plan: it has no `version`.")
    if value["version"] != VERSION or isinstance(value["version"], bool):
        version = escape_control(str(value["version"]))[:40]
        _refuse(f"{_capitalize(name)} is of version {version}; this pigment-sync reads version {VERSION}.")
    _validate({**value, "workspaces": []}, document_schema(), "", name)
    _validate(value.get("workspaces"), workspaces_schema(), "workspaces", name)
    for index, workspace in enumerate(value["workspaces"]):
        _validate(workspace, workspace_schema(), f"workspaces[{index}]", name)
    whole = cast("Document", value)
    _check_digests(whole, name)
    return whole


def parse_workspace(raw: bytes, name: str = "the recorded plan") -> WorkspaceObject:
    """Return one workspace's object as the journal kept it, or raise `UsageError`."""
    value = _parse_json(raw, name)
    _validate(value, workspace_schema(), "the plan", name)
    workspace = cast("WorkspaceObject", value)
    _check_workspace(workspace, name)
    return workspace


def describe_difference(reviewed: bytes, fresh: Plan | Unplanned) -> Sequence[str]:
    """Return in lines how *fresh* differs from the plan in *reviewed*, which is one workspace's object.

    Raises `UsageError` if it can't be read.
    """
    return diff_lines(parse_workspace(reviewed), workspace_object(fresh))


def _refuse(message: str, hint: str = NEW_PLAN_HINT) -> NoReturn:
    raise UsageError(message, hint)


def _capitalize(name: str) -> str:
    """Start a sentence with *name*, which may be a path and then keeps its spelling."""
    return name[0].upper() + name[1:] if name.startswith("the ") else name


def _parse_json(raw: bytes, name: str) -> object:
    text = raw.removeprefix(codecs.BOM_UTF8)
    if not text.strip():
        _refuse(f"{_capitalize(name)} is empty.")
    try:
        value: object = orjson.loads(text.decode())
    except (UnicodeDecodeError, orjson.JSONDecodeError) as error:
        if "unexpected end of data" in str(error):
            _refuse(f"{_capitalize(name)} is truncated: it ends in the middle, after {len(raw):,} bytes.")
        if isinstance(error, orjson.JSONDecodeError):
            _refuse(f"{_capitalize(name)} is not JSON (line {error.lineno}, column {error.colno}).")
        _refuse(f"{_capitalize(name)} is not UTF-8 text (byte {error.start:,}).")
    return value


def _check_digests(whole: Document, name: str) -> None:
    names = Counter(workspace["name"] for workspace in whole["workspaces"])
    twice = [escape_control(one) for one, times in names.items() if times > 1]
    if twice:
        _refuse(f"{_capitalize(name)} was edited: workspace {twice[0]} is in it twice.")
    for workspace in whole["workspaces"]:
        _check_workspace(workspace, name)
    if document_digest(whole["workspaces"]) != whole["digest"]:
        _refuse(
            f"{_capitalize(name)} was edited: its digest does not match its workspaces (one was taken "
            "out, put in, or moved).",
            "Use the file as it was written, or make a new one with `pigment-sync plan --out FILE`.",
        )


def _check_workspace(workspace: WorkspaceObject, name: str) -> None:
    who = escape_control(workspace["name"])
    if not has_own_digest(workspace):
        _refuse(
            f"{_capitalize(name)} was edited: workspace {who} does not match its digest.",
            "Use the file as it was written, or make a new one with `pigment-sync plan --out FILE`.",
        )
    if workspace["status"] == "planned":
        kinds = Counter[str](change["kind"] for change in workspace["changes"])
        counts = workspace["counts"]
        if counts != counts_of(kinds, len(workspace["holds"]), len(workspace["notes"]), counts.get("in-sync", 0)):
            _refuse(
                f"{_capitalize(name)} contradicts itself: the counts of workspace {who} are not those of its lists."
            )


def _validate(value: object, schema: TypeAdapter[Any], path: str, name: str) -> None:
    """Refuse *value* unless it has the shape of *schema*, naming the first misfit below *path*.

    What pydantic returns is not used: it leaves out keys that the schema does not know, and the digests cover them.
    """
    try:
        schema.validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # The tag of a union is part of pydantic's place, and not of the document.
        place = first["loc"][1:] if schema is workspace_schema() else first["loc"]
        where = path + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
        problem = escape_control(f"{where}{_problem(first)}".removeprefix("."))
        _refuse(f"{_capitalize(name)} is not a plan as this version writes it: {problem}.")


def _problem(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "union_tag_not_found":
            return ".status is missing"
        case "union_tag_invalid":
            return f".status must be one of {_choices(context['expected_tags'])}"
        case "literal_error":
            return f" must be one of {_choices(context['expected'])}"
        case kind:
            return f" {EXPECTATIONS.get(kind, error['msg'])}"


def _choices(quoted: str) -> str:
    return ", ".join(re.findall("'([^']+)'", quoted))
