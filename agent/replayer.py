"""Prepare the replay of a recording: its answers, and a configuration and a state that match them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from agent.bootstrap import SystemClock
from agent.errors import UsageError
from agent.model.page_size import SMALL_PAGE
from agent.recording.file import Line, read_recording
from agent.recording.memory import restore_row
from agent.settings.load import load
from agent.settings.target import policies
from agent.store.codec import to_micros
from agent.store.state import SqlState

__all__ = ["Replay", "load_replay", "write_replay_files"]

CONFIG_FILE, STATE_FILE = "replay.yaml", "replay.db"
TABLES_FIRST = ("runs",)
MADE_UP_CREDENTIAL = "replayed"
MADE_UP_GUID = "11111111-1111-4111-8111-{:012}"
KEPT_FOR_REPLAY = frozenset({"hidden_members", "system"})


@dataclass(frozen=True, slots=True)
class Replay:
    """A recording without its answers, which are handed on one by one."""

    header: Line
    config: Mapping[str, Any]
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    plans: Sequence[Line]


def load_replay(path: Path, add_answer: Callable[[Line], None]) -> Replay:
    """Read the recording at *path*. Raises `UsageError` for a file that is cut, edited or of another version."""
    header: Line = {}
    config: Mapping[str, Any] = {}
    rows: dict[str, list[Mapping[str, Any]]] = {each: [] for each in TABLES_FIRST}
    plans: list[Line] = []
    for line in read_recording(path):
        match line["kind"]:
            case "header":
                header = line
            case "config":
                config = line
            case "answer":
                add_answer(line)
            case "state":
                rows.setdefault(line["table"], []).extend(line["rows"])
            case "plan":
                plans.append(line)
    return Replay(header, config, {table: found for table, found in rows.items() if found}, plans)


def write_replay_files(replay: Replay, urls: Mapping[str, str], folder: Path) -> Path:
    """Write the configuration and the state of *replay* into *folder*, and return the path of the configuration.

    Those of an earlier replay are replaced. Raises `UsageError` and `StateError`.
    """
    config = folder / CONFIG_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (STATE_FILE, f"{STATE_FILE}-wal", f"{STATE_FILE}-shm", CONFIG_FILE):
            (folder / name).unlink(missing_ok=True)
        config.touch(mode=0o600)
        config.write_bytes(orjson.dumps(_config(replay, urls), option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise UsageError(f"{folder} can't be written ({error.strerror}).", "Name another folder with --out.") from error
    settings = load(config, {})
    targets: dict[str, str] = {}
    for name, policy in policies(settings).items():
        targets[f"workspace {name}"] = policy.target
        targets |= {f"connector {connector}": tenant for connector, tenant in policy.tenants}
    asyncio.run(_write_state(replay, settings.state.url, targets))
    return config


async def _write_state(replay: Replay, url: str, targets: Mapping[str, str]) -> None:
    clock = SystemClock()
    state = await SqlState.open(url, clock.now)
    try:
        await state.import_plan_rows(_restored_rows(replay, clock.now(), targets))
    finally:
        await state.close()


def _restored_rows(replay: Replay, now: datetime, targets: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    moment = to_micros(now)
    return {table: [restore_row(row, moment, targets) for row in rows] for table, rows in replay.rows.items()}


def _config(replay: Replay, urls: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration, which is JSON and so YAML too. Every address and secret in it is the replay's."""
    recorded = replay.config
    workspaces = {name: _workspace(name, recorded["workspaces"][name], urls["pigment"]) for name in recorded["order"]}
    return {
        "log": {"level": "warning", "format": "console"},
        "state": {"url": f"sqlite:///{STATE_FILE}"},
        # What failed when it was recorded fails again: waiting changes nothing.
        "http": {"retries": 0, "max_wait_seconds": 60},
        "pigment": {"requests_per_window": 1_000_000, "window_seconds": 300},
        "limits": {"fleet_deactivations_percent": recorded["fleet_deactivations_percent"]},
        "connectors": {
            name: _connector(number, each, urls[each["system"]])
            for number, (name, each) in enumerate(recorded["connectors"].items(), 1)
        },
        "workspaces": workspaces,
    }


def _connector(number: int, recorded: Mapping[str, Any], url: str) -> dict[str, Any]:
    kept = {key: value for key, value in recorded.items() if key not in KEPT_FOR_REPLAY}
    made_up = MADE_UP_GUID.format(number)
    if recorded["type"] == "okta":
        return {**kept, "org_url": url, "api_token": MADE_UP_CREDENTIAL}
    credentials = {"client_id": made_up, "client_secret": MADE_UP_CREDENTIAL}
    if recorded["type"] == "entra":
        return {**kept, **credentials, "tenant_id": made_up, "graph_url": url, "authority_url": url}
    return {**kept, **credentials, "api_url": url}


def _workspace(name: str, recorded: Mapping[str, Any], pigment: str) -> dict[str, Any]:
    # Releases without `page_size` asked for pages of 100.
    return {
        "page_size": SMALL_PAGE,
        **recorded,
        "scim_url": f"{pigment}/{name}/scim/v2",
        "tokens": [f"{MADE_UP_CREDENTIAL}-{name}"],
    }
