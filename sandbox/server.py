"""Run the whole sandbox on this machine: as a context for tests and the demo, or until it is stopped."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from sandbox.admin import admin_app
from sandbox.agent_config import STATE_URL, AgentConfig, Mode
from sandbox.banner import render_banner
from sandbox.company import Company
from sandbox.entra import EntraTenant
from sandbox.environment import Environment
from sandbox.faults.parse import load_rules
from sandbox.faults.registry import FaultRegistry
from sandbox.faults.rule import FaultError
from sandbox.host import SandboxError, host_apps
from sandbox.okta import OktaOrg
from sandbox.onelogin import OneLoginAccount
from sandbox.pigment.app import Pigment
from sandbox.pigment.rate_limit import RateLimit
from sandbox.pigment.workspace import PigmentWorkspace
from sandbox.request_log import LoggedRequest, RequestLog
from sandbox.week import simulate_week

__all__ = ["Sandbox", "SandboxError", "run_sandbox", "serve"]


class Sandbox:
    """A running sandbox: the addresses of its systems, and their content."""

    def __init__(self, environment: Environment, urls: dict[str, str]) -> None:
        self.environment = environment
        self.urls = urls
        self.okta_url = urls["okta"]
        self.entra_url = urls["entra"]
        self.onelogin_url = urls["onelogin"]
        self.pigment_url = urls["pigment"]
        self.admin_url = urls["admin"]
        self._config = AgentConfig(environment, urls)

    @property
    def company(self) -> Company:
        return self.environment.company

    @property
    def okta(self) -> OktaOrg:
        return self.environment.okta

    @property
    def entra(self) -> EntraTenant:
        return self.environment.entra

    @property
    def onelogin(self) -> OneLoginAccount:
        return self.environment.onelogin

    @property
    def pigment(self) -> Pigment:
        return self.environment.pigment

    @property
    def faults(self) -> FaultRegistry:
        return self.environment.faults

    @property
    def request_log(self) -> RequestLog:
        return self.environment.request_log

    def workspace(self, workspace: str) -> PigmentWorkspace:
        """Return the workspace of this name: `pigment-latam`, `pigment-eu`, `pigment-apac`."""
        return self.environment.pigment.workspaces[workspace]

    def requests(self, system: str = "", method: str = "") -> list[LoggedRequest]:
        """Return the requests to a system (`okta`, `entra`, `onelogin`, `pigment`) so far, oldest first."""
        return self.environment.request_log.matching(system, method)

    def config_yaml(self, state_url: str = STATE_URL, mode: Mode = "enforce") -> str:
        """Return a complete configuration of the agent, with all secrets in it."""
        return self._config.yaml(state_url, mode)

    def write_config(self, folder: Path, state_url: str = STATE_URL, mode: Mode = "enforce") -> Path:
        """Write a complete configuration and the Okta key into *folder*; return the configuration's path."""
        return self._config.write(folder, state_url, mode)

    def simulate_week(self) -> list[str]:
        """Make the changes of a week in the company, and return a sentence for each."""
        return list(simulate_week(self.company))


@contextlib.contextmanager
def run_sandbox(seed: int = 1, port: int = 0, *, size: int = 120, limit: RateLimit | None = None) -> Iterator[Sandbox]:
    """Serve a sandbox until the end of the block: at *port* and the four after it, or at free ones.

    *size* is how many people each directory has, about; *limit* Pigment's rate limit (default: the real one).
    Raise `SandboxError` when a port is taken.
    """
    environment = Environment(seed, size, limit)
    with host_apps({**environment.apps(), "admin": admin_app(environment)}, port) as urls:
        yield Sandbox(environment, urls)


def serve(port: int, seed: int, faults: Path | None, out: Path) -> None:
    """Serve a sandbox until SIGINT or SIGTERM, and write a matching configuration into the folder *out*.

    Instructions go to stdout. Raise `SandboxError` for ports that are taken, a folder that can't be
    written, or a file of faults that can't be read.
    """
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with run_sandbox(seed, port) as sandbox:
            config = _prepare_files(sandbox, faults, out)
            sys.stdout.write(render_banner(sandbox.environment, sandbox.urls, config))
            sys.stdout.flush()
            stopped.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    sys.stdout.write("The sandbox has stopped.\n")


def _prepare_files(sandbox: Sandbox, faults: Path | None, out: Path) -> Path:
    try:
        if faults is not None:
            sandbox.faults.put(load_rules(faults))
        return sandbox.write_config(out)
    except FaultError as error:
        raise SandboxError(str(error)) from error
    except OSError as error:
        raise SandboxError(f"The configuration can't be written to {out} ({error.strerror}).") from error
