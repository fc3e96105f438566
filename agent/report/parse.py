"""Read a plan document back, and trust nothing in it: what was cut, edited or made by another version is refused."""

from __future__ import annotations

import codecs
from collections import Counter
from functools import cache
from types import UnionType
from typing import Literal, NoReturn, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

import orjson

from agent.errors import UsageError
from agent.report.document import counts_of, document_digest, workspace_digest
from agent.report.escape import escape_control
from agent.report.schema import VERSION, Document, PlannedObject, UnplannedObject, WorkspaceObject

__all__ = ["parse_document", "parse_workspace"]

NEW_PLAN_HINT = "Make a new one with `pigment-sync plan --out FILE`."


class _SchemaError(Exception):
    """A value that is not what the shape asks for, with its path: an inner signal, never seen outside."""

    def __init__(self, path: str, wanted: str) -> None:
        super().__init__(path, wanted)
        self.path = path
        self.expected = wanted


def parse_document(raw: bytes, name: str = "the plan file") -> Document:
    """Return the plan document in *raw*, or raise `UsageError` saying what is wrong with it. *name* is for messages."""
    value = _parse_json(raw, name)
    if not isinstance(value, dict) or "version" not in value:
        _refuse(f"{_capitalize(name)} is JSON, but not a plan: it has no `version`.")
    if value["version"] != VERSION or isinstance(value["version"], bool):
        version = escape_control(str(value["version"]))[:40]
        _refuse(f"{_capitalize(name)} is of version {version}; this pigment-sync reads version {VERSION}.")
    try:
        _check_type({**value, "workspaces": []}, Document, "")
        _check_type(value.get("workspaces"), list[dict[str, object]], "workspaces")
        for index, workspace in enumerate(value["workspaces"]):
            _check_workspace_schema(workspace, f"workspaces[{index}]")
    except _SchemaError as misfit:
        _refuse(f"{_capitalize(name)} is not a plan as this version writes it: {misfit.path} {misfit.expected}.")
    whole = cast("Document", value)
    _check_digests(whole, name)
    return whole


def parse_workspace(raw: bytes, name: str = "the recorded plan") -> WorkspaceObject:
    """Return one workspace's object as the journal kept it, or raise `UsageError`."""
    value = _parse_json(raw, name)
    try:
        _check_workspace_schema(value, "the plan")
    except _SchemaError as misfit:
        _refuse(f"{_capitalize(name)} is not a plan as this version writes it: {misfit.path} {misfit.expected}.")
    workspace = cast("WorkspaceObject", value)
    _check_workspace(workspace, name)
    return workspace


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
    if workspace_digest(workspace) != workspace["digest"]:
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


def _check_workspace_schema(value: object, path: str) -> None:
    planned = isinstance(value, dict) and value.get("status") == "planned"
    _check_type(value, PlannedObject if planned else UnplannedObject, path)


_type_hints = cache(get_type_hints)

_expectations: dict[object, str] = {
    str: "must be text",
    bool: "must be true or false",
    int: "must be a whole number, 0 or more",
    type(None): "must be null",
}


def _check_type(value: object, shape: object, path: str) -> None:
    """Raise `_SchemaError` unless *value* is what *shape* says: a class, literal, union, list, dict or TypedDict."""
    if shape in _expectations:
        _check_scalar(value, shape, path)
    elif is_typeddict(shape):
        _check_typed_dict(value, shape, path)
    elif get_origin(shape) in (Union, UnionType):
        _check_union(value, get_args(shape), path)
    elif get_origin(shape) is Literal:
        if value not in get_args(shape):
            raise _SchemaError(path, "must be one of " + ", ".join(get_args(shape)))
    else:
        _check_items(value, shape, path)


def _check_scalar(value: object, shape: object, path: str) -> None:
    right = type(value) is shape and not (isinstance(value, int) and value < 0)
    if not right:
        raise _SchemaError(path, _expectations[shape])


def _check_typed_dict(value: object, shape: object, path: str) -> None:
    if not isinstance(value, dict):
        raise _SchemaError(path, "must be an object")
    required: frozenset[str] = getattr(shape, "__required_keys__", frozenset())
    for key, hint in _type_hints(shape).items():
        where = f"{path}.{key}" if path else key
        if key in value:
            _check_type(value[key], hint, where)
        elif key in required:
            raise _SchemaError(where, "is missing")


def _check_union(value: object, shapes: tuple[object, ...], path: str) -> None:
    """All our unions are "this or null"."""
    if value is not None or type(None) not in shapes:
        _check_type(value, next(shape for shape in shapes if shape is not type(None)), path)


def _check_items(value: object, shape: object, path: str) -> None:
    kind = get_origin(shape)
    if kind is list:
        if not isinstance(value, list):
            raise _SchemaError(path, "must be a list")
        (item,) = get_args(shape)
        for index, one in enumerate(value):
            _check_type(one, item, f"{path}[{index}]")
    elif kind is dict:
        if not isinstance(value, dict):
            raise _SchemaError(path, "must be an object")
        for key, one in value.items():
            _check_type(one, get_args(shape)[1], f"{path}.{key}")
