"""What `pigment-sync sandbox` prints: where everything listens, and what to try."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sandbox.environment import Environment

__all__ = ["render_banner"]


def render_banner(environment: Environment, urls: Mapping[str, str], config: Path) -> str:
    """Return the text; every line that begins with `curl` or `pigment-sync` can be pasted into a shell."""
    people = ", ".join(f"{len(each.people)} in {name}" for name, each in environment.company.directories.items())
    workspaces = "\n".join(
        f"             {urls['pigment']}/{name}/scim/v2 ({len(workspace.members)} members)"
        for name, workspace in environment.pigment.workspaces.items()
    )
    admin = urls["admin"]
    hire = '{"directory": "okta", "given": "Ada", "family": "Lima", "groups": ["Pigment LatAm"]}'
    return f"""\
The sandbox of seed {environment.seed} is running: {people}.

  Okta       {urls["okta"]}
  Entra ID   {urls["entra"]} (sign-in and Graph)
  OneLogin   {urls["onelogin"]}
  Pigment    {urls["pigment"]}
{workspaces}
  Admin      {admin}

Configuration: {config}

  pigment-sync --config {config} plan
  pigment-sync --config {config} sync

Change something, and plan again:

  curl '{admin}/people?q=ana'
  curl -X POST {admin}/people -d '{hire}'
  curl -X POST {admin}/people/ana.lima@acme.com/marry -d '{{"family": "Souza"}}'
  curl -X POST {admin}/people/caio.fonseca+planning@acme.com/suspend
  curl -X POST {admin}/people/heitor.alvares@acme.com/leave
  curl '{admin}/requests?system=pigment'
  curl -X PUT {admin}/faults -d '{{"faults": [{{"do": "status", "status": 503, "system": "okta", "times": 2}}]}}'

docs/sandbox.md has the details. Stop with Ctrl-C.
"""
