"""Parse rules from YAML or JSON, and write them in the same form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import orjson

from sandbox.faults.action import ACTIONS, Action, System
from sandbox.faults.rule import FaultError, Rule

__all__ = ["load_rules", "parse_rules", "rules_to_json"]

OCCURRENCE_KEYS = ("at", "every", "start")
MATCH_KEYS = ("system", "method", "path", "query", *OCCURRENCE_KEYS, "times")
BOUNDS = {
    "status": (200, 599),
    "seconds": (0, 3600),
    "keep": (0, 1),
    "limit": (0, 10**6),
    "size": (2, 2**40),
    "depth": (1, 10**8),
}


def load_rules(path: Path) -> list[Rule]:
    """Read a YAML or JSON file of rules. Raise `FaultError` naming the file and the rule."""
    import yaml  # a slow import, needed for files of faults only

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FaultError(f"{path} can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FaultError(f"{path} is not YAML: {str(error).splitlines()[0]}.") from error
    try:
        return parse_rules(document)
    except FaultError as error:
        raise FaultError(f"{path}: {error}") from error


def parse_rules(document: object) -> list[Rule]:
    """Return the rules of `{"faults": [...]}`. Raise `FaultError` for the first invalid one."""
    if not isinstance(document, dict) or set(document) != {"faults"} or not isinstance(document["faults"], list):
        raise FaultError("a list named `faults` is expected, and nothing else.")
    rules = [_parse_rule(number, row) for number, row in enumerate(document["faults"], 1)]
    names = [rule.name for rule in rules]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FaultError(f"two faults are named {twice!r}.")
    return rules


def rules_to_json(rules: Sequence[Rule]) -> bytes:
    """Return *rules* as JSON that `parse_rules` can read."""
    return orjson.dumps({"faults": [_rule_to_dict(rule) for rule in rules]})


def _rule_to_dict(rule: Rule) -> dict[str, object]:
    match = {key: value for key in MATCH_KEYS if (value := getattr(rule, key)) not in ("", "*", 0, None)}
    options = {option.name: getattr(rule.action, option.name) for option in dataclasses.fields(rule.action)}
    return {"name": rule.name, "do": rule.action.fault_name, **match} | {
        k: v for k, v in options.items() if v is not None
    }


def _parse_rule(number: int, row: object) -> Rule:
    where = f"fault {number}"
    if not isinstance(row, dict):
        raise FaultError(f"{where}: an object is expected.")
    name = str(row.get("name") or f"fault-{number}")
    where = f"{where} ({name})"
    word = row.get("do")
    if not isinstance(word, str) or word not in ACTIONS:
        raise FaultError(f"{where}: `do` is one of {', '.join(sorted(ACTIONS))}, not {word!r}.")
    kind = ACTIONS[word]
    options = {str(key): value for key, value in row.items() if key not in ("name", "do", *MATCH_KEYS)}
    action = kind(**_check_types(where, kind, options))
    _check_bounds(where, action)
    rule = Rule(name, action, **_parse_match(where, row))  # type: ignore[arg-type]  # checked in _parse_match
    if rule.system is not None and rule.system not in action.systems:
        raise FaultError(f"{where}: {rule.system} has no {word}; {', '.join(sorted(action.systems))} have.")
    return rule


def _parse_match(where: str, row: Mapping[str, object]) -> dict[str, object]:
    given = {key: row[key] for key in MATCH_KEYS if row.get(key) is not None}
    typed = _check_types(where, Rule, {key: value for key, value in given.items() if key != "system"})
    if sum(key in given for key in OCCURRENCE_KEYS) > 1:
        raise FaultError(f"{where}: at, every and start exclude each other.")
    for key in (*OCCURRENCE_KEYS, "times"):
        if key in given and not (isinstance(given[key], int) and typed[key] >= 1):  # type: ignore[operator]  # an int
            raise FaultError(f"{where}: {key} counts from 1.")
    if "method" in typed:
        typed["method"] = str(typed["method"]).upper()
    if "system" in given:
        if given["system"] not in list(System):
            raise FaultError(f"{where}: system is one of {', '.join(System)}, not {given['system']!r}.")
        typed["system"] = System(str(given["system"]))
    return typed


def _check_types(where: str, kind: type[object], options: Mapping[str, object]) -> dict[str, object]:
    hints = get_type_hints(kind)
    known = {option.name: hints[option.name] for option in dataclasses.fields(kind)}  # type: ignore[arg-type]  # one
    for name, value in options.items():
        if name not in known:
            raise FaultError(f"{where}: there is no option {name!r}; there are {', '.join(sorted(known)) or 'none'}.")
        if not _is_of_type(value, known[name]):
            raise FaultError(f"{where}: {name} can't be {value!r}.")
    return dict(options)


def _is_of_type(value: object, hint: object) -> bool:
    if get_origin(hint) is Mapping:
        return isinstance(value, dict) and all(isinstance(text, str) for text in (*value, *value.values()))
    choices = get_args(hint)
    if choices:
        return value in choices or (str in choices and isinstance(value, str))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(hint, type) and type(value) is hint


def _check_bounds(where: str, action: Action) -> None:
    """Raise `FaultError` for a number out of bounds."""
    for name, (least, most) in BOUNDS.items():
        value = getattr(action, name, least)
        if not least <= value <= most:
            raise FaultError(f"{where}: {name} is {least} to {most}, not {value}.")
