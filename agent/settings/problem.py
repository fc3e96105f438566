"""Say in plain words what pydantic found wrong, each with its path in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

__all__ = ["problems"]

# Variants of a union stand in pydantic's paths, and nowhere in the file.
VARIANTS = frozenset({"okta", "entra", "onelogin"})
PLAIN = {
    "missing": "is missing",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "frozen_set_type": "must be a list",
    "date_from_datetime_parsing": "must be a date, as 2027-03-31",
    "date_parsing": "must be a date, as 2027-03-31",
    "date_type": "must be a date, as 2027-03-31",
    "union_tag_not_found": "needs a type: okta, entra or onelogin",
    "union_tag_invalid": "has a type that is none of okta, entra, onelogin",
}


def problems(error: ValidationError) -> Iterator[str]:
    """Yield one sentence for each problem, in the order of the file; a value never stands in it."""
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] == "value_error" and not detail["loc"]:
            yield from str(detail["ctx"]["error"]).splitlines()
            continue
        yield f"{_path(detail)}: {_words(detail)}"


def _path(detail: ErrorDetails) -> str:
    steps = list(detail["loc"])
    if len(steps) > 2 and steps[0] == "connectors" and steps[2] in VARIANTS:
        del steps[2]
    return ".".join(str(step) for step in steps) or "the file"


def _words(detail: ErrorDetails) -> str:
    kind, more = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(detail)
    if kind in PLAIN:
        return PLAIN[kind]
    if kind == "value_error":
        return str(more["error"])
    if kind in {"literal_error", "enum"}:
        return f"must be {more['expected']}"
    bounds = {
        "greater_than_equal": ("ge", "at least"),
        "less_than_equal": ("le", "at most"),
        "greater_than": ("gt", "more than"),
    }
    if kind in bounds:
        key, words = bounds[kind]
        return f"must be {words} {more[key]:g}"
    return detail["msg"].lower()


def _unknown(detail: ErrorDetails) -> str:
    key = str(detail["loc"][-1])
    near = get_close_matches(key, sorted(_keys_beside(detail["loc"])), 1)
    return f"is not a known key; did you mean {near[0]}?" if near else "is not a known key"


def _keys_beside(path: tuple[int | str, ...]) -> set[str]:
    """Return the keys that are known where the unknown one stands."""
    from agent.settings.root import Settings

    fields: Mapping[str, Any] = Settings.model_fields
    for step in path[:-1]:
        if not isinstance(step, str) or step not in fields:
            continue
        below = _models(fields[step].annotation)
        if below:
            fields = {name: field for model in below for name, field in model.model_fields.items()}
    return set(fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]
