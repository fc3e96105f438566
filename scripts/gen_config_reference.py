"""Generate the key tables of docs/configuration.md from the settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from agent.settings.introspect import discriminator_value, fields_by_key, union_members
from agent.settings.root import Settings
from agent.settings.types import format_duration
from connectors.secret import Secret

__all__ = ["key_tables", "updated_document"]

BEGIN_MARK, END_MARK = "<!-- keys: begin -->", "<!-- keys: end -->"
TYPE_LABELS = {
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    str: "text",
    date: "date",
    timedelta: "duration",
    Secret: "secret",
    Path: "path",
}
BOUND_LABELS = {"ge": ("least", "at least"), "gt": ("least", "more than"), "le": ("most", "at most")}
TABLE_HEADER = "| key | value | default | what it is |\n|---|---|---|---|"


def updated_document(document: str) -> str:
    """Return *document* with new content between its two marks."""
    before, _, rest = document.partition(BEGIN_MARK)
    _, _, after = rest.partition(END_MARK)
    return f"{before}{BEGIN_MARK}\n\n{key_tables()}\n{END_MARK}{after}"


def key_tables() -> str:
    """Return every key as Markdown, one table for each mapping of the configuration."""
    return "\n".join(_section("The whole file", Settings, "")) + "\n" + "\n".join(_subsections("", Settings))


def _section(title: str, model: type[BaseModel], path: str) -> Iterator[str]:
    yield f"### {title}\n"
    # The docstring of the root is for developers.
    if path and model.__doc__:
        yield f"{model.__doc__.splitlines()[0]}\n"
    yield TABLE_HEADER
    for key, field in fields_by_key(model).items():
        yield f"| `{key}` | {_value_label(field)} | {_default_label(field)} | {field.description or ''} |"
    yield ""


def _subsections(path: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield the sections of the mappings within *model*, each after its parent."""
    for key, field in fields_by_key(model).items():
        for place, inner in _nested_models(f"{path}{key}", field.annotation):
            yield from _section(f"`{place}`", inner, place)
            yield from _subsections(f"{place}.", inner)


def _nested_models(path: str, annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    found = [each for each in union_members(annotation) if each is not NoneType]
    for each in found:
        origin, arguments = get_origin(each), get_args(each)
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield (f"{path} (type: {discriminator_value(each)})" if len(found) > 1 else path), each
        elif origin is dict:
            yield from _nested_models(f"{path}.NAME", arguments[1])
        elif origin is tuple:
            yield from _nested_models(f"{path}[]", arguments[0])


def _value_label(field: FieldInfo) -> str:
    kinds = [each for each in union_members(field.annotation) if each is not NoneType]
    # Of several types, the first is how the file has it; but a word is one choice of all.
    choices = kinds if get_origin(kinds[0]) is Literal else kinds[:1]
    label = ", ".join(_type_label(each) for each in choices)
    return f"{label}{_bounds_label(field)}"


def _type_label(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return ", ".join(f"`{each}`" for each in annotation)
    if origin in {tuple, frozenset}:
        inner = union_members(arguments[0])[0]
        return "list of mappings" if _is_model(inner) else f"list of {_plural(_type_label(inner))}"
    if origin is dict or _is_model(annotation):
        return "mapping"
    return TYPE_LABELS[annotation]


def _plural(word: str) -> str:
    return {"text": "texts", "secret": "secrets"}.get(word, word)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _bounds_label(field: FieldInfo) -> str:
    labels = {}
    for each in field.metadata:
        # Of two bounds of a kind, the narrower is last.
        for name, (kind, phrase) in BOUND_LABELS.items():
            if hasattr(each, name):
                labels[kind] = f", {phrase} {getattr(each, name)}"
    return "".join(labels.values())


def _default_label(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, Secret):
        return f"`{default.reveal()}`"
    if default is None or default is PydanticUndefined or isinstance(default, BaseModel | dict):
        return ""
    if isinstance(default, timedelta):
        return f"`{format_duration(default)}`"
    if isinstance(default, tuple | frozenset):
        return f"`[{', '.join(sorted(map(str, default)))}]`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(updated_document(file.read_text("utf-8")), "utf-8")
