"""A configuration as it is mounted into the container: secrets as files, the state where the image puts it."""

from __future__ import annotations

import copy
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from sandbox.server import Sandbox
from tests.image.engine import Mount

__all__ = ["CONFIG", "SECRETS", "STATE", "Setting", "prepared"]

CONFIG, SECRETS, STATE = "/etc/pigment-sync/config.yaml", "/run/secrets", "/var/lib/pigment-sync"


@dataclass
class Setting:
    """A folder of the host with all that is mounted."""

    folder: Path
    document: dict[str, Any]
    port: int = field(default=0)

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def mounts(self) -> list[Mount]:
        return [Mount(self.config, CONFIG), Mount(self.secrets, SECRETS)]

    def state(self, uid: int, gid: int, mode: int = 0o700, how: str = "rw") -> Mount:
        """Return a volume for the state that belongs to *uid* and *gid*."""
        volume = self.folder / "state"
        volume.mkdir(exist_ok=True)
        os.chown(volume, uid, gid)
        volume.chmod(mode)
        return Mount(volume, STATE, how)

    def written(self) -> Setting:
        self.config.write_text(yaml.safe_dump(self.document, sort_keys=False), "utf-8")
        self.config.chmod(0o644)
        return self

    def answer(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=10, trust_env=False)


def prepared(sandbox: Sandbox, folder: Path) -> Setting:
    """Write a configuration for *sandbox* into *folder*, which users of any number may read."""
    document = copy.deepcopy(yaml.safe_load(sandbox.config_yaml()))
    port = _free_port()
    setting = Setting(folder, document, port)
    setting.secrets.mkdir()
    del document["state"]
    document["log"] = {"level": "info", "format": "json"}
    document["server"] = {"port": port}
    connectors, workspaces = document["connectors"], document["workspaces"]
    for holder, key in (
        (connectors["okta-main"], "private_key"),
        (connectors["entra-eu"], "client_secret"),
        (connectors["onelogin-apac"], "client_secret"),
    ):
        holder[key] = _kept(setting.secrets / f"{holder['type']}", holder[key])
    for name, workspace in workspaces.items():
        workspace["tokens"] = [
            _kept(setting.secrets / f"{name}-{place}", token) for place, token in enumerate(workspace["tokens"])
        ]
        workspace["schedule"] = {"every": "1h"}
    folder.chmod(0o755)
    return setting.written()


def _kept(file: Path, value: str) -> dict[str, str]:
    file.write_text(f"{value}\n", "utf-8")
    file.chmod(0o644)
    return {"file": f"{SECRETS}/{file.name}"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
