"""Turn pydantic's validation errors into messages that explain the fix. They never contain a value."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agent.settings.cross_checks import ConfigProblem
from agent.settings.introspect import ConfigNode, node_at
from agent.settings.merge import KeyPath
from connectors.registry import PROVIDERS

__all__ = ["validation_problems"]

MAPPING_MESSAGE = "must contain keys with values"
LIST_MESSAGE = "must be a list, such as [first, second]; an empty list is []"
TEXT_MESSAGE = "must be text: put it in quotes"
*_FIRST_TYPES, _LAST_TYPE = (each.type_key for each in PROVIDERS)
TYPES = f"{', '.join(_FIRST_TYPES)} or {_LAST_TYPE}"
MESSAGES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "string_type": TEXT_MESSAGE,
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "dict_type": MAPPING_MESSAGE,
    "model_type": MAPPING_MESSAGE,
    "model_attributes_type": MAPPING_MESSAGE,
    "tuple_type": LIST_MESSAGE,
    "list_type": LIST_MESSAGE,
    "frozen_set_type": LIST_MESSAGE,
    "path_type": TEXT_MESSAGE,
    "union_tag_not_found": f"has no type; write type: {TYPES}",
    "union_tag_invalid": f"has an unknown type; write type: {TYPES}",
}
BOUND_MESSAGES = {
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
    "greater_than": ("gt", "more than"),
    "less_than": ("lt", "less than"),
}


def validation_problems(error: ValidationError) -> Iterator[ConfigProblem]:
    """Yield every problem of *error*, with its path in the file."""
    # The input is needed to distinguish null from other values, and is not passed on.
    details = error.errors(include_url=False, include_input=True)
    for detail in details:
        if detail["type"] == "too_short" and any(_is_below(other, detail) for other in details):
            # A list of invalid entries only is not empty.
            continue
        steps = tuple(step for step in detail["loc"] if step != "[key]")
        place = node_at(steps[:-1] if detail["type"] in {"extra_forbidden", "missing"} else steps)
        yield ConfigProblem(_path_in_file(place, steps), _message(detail, place))


def _is_below(detail: ErrorDetails, above: ErrorDetails) -> bool:
    return detail["loc"] != above["loc"] and detail["loc"][: len(above["loc"])] == above["loc"]


def _path_in_file(place: ConfigNode, steps: KeyPath) -> KeyPath:
    """Leave out the variant of a connector, and a value that lacks the space after its colon."""
    return (*place.path, *(str(step).partition(":")[0] for step in steps[len(place.loc) :]))


def _message(detail: ErrorDetails, place: ConfigNode) -> str:
    kind, more = detail["type"], detail.get("ctx", {})
    key = str(detail["loc"][-1]) if detail["loc"] else ""
    if kind == "extra_forbidden":
        return _unknown_key_message(key, place)
    if kind == "missing":
        return f"is missing. {place.description(key)}".rstrip()
    if kind == "value_error":
        return str(more["error"])
    if kind in {"literal_error", "enum"}:
        return f"must be {more['expected']}"
    if kind in BOUND_MESSAGES:
        bound, text = BOUND_MESSAGES[kind]
        return f"must be {text} {more[bound]:g}"
    text = MESSAGES.get(kind) or f"is not valid here. {node_at(place.loc[:-1]).description(key)}".rstrip()
    return f"{text} (null is not allowed; for the default, leave the key out)" if detail["input"] is None else text


def _unknown_key_message(key: str, place: ConfigNode) -> str:
    if ":" in key:
        return "needs a space after its colon"
    near = get_close_matches(key, place.keys(), 1)
    if near:
        return f"is not a known key; did you mean {near[0]}?"
    return f"is not a known key; known here: {', '.join(place.keys())}"
