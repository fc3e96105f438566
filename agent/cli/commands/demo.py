"""The demo: a company's first dry run and sync, then a week of its life, against the sandbox."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from agent.errors import ExitCode, UsageError

__all__ = ["run_demo"]


def _print_heading(text: str) -> None:
    click.echo()
    click.secho(f"── {text}", bold=True)


@contextlib.contextmanager
def _prepare_folder(out: Path) -> Iterator[Path]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        # The state of a former demo would remember people of a former company.
        for leftover in out.glob("state.db*"):
            leftover.unlink()
    except OSError as error:
        raise UsageError(f"{out} can't be used ({error.strerror}).", "Name another folder with --out.") from error
    yield out


def run_demo(out: Path, seed: int) -> int:
    """Run the demo, leaving its files in *out*. Returns the worst exit code of its commands, which should be 0."""
    # The command line itself is what is shown; it knows this module, so it is fetched when it is needed.
    from agent.cli.app import run_cli
    from sandbox.server import run_sandbox

    codes: list[int] = []
    with _prepare_folder(out) as folder, run_sandbox(seed=seed) as sandbox:
        config = str(sandbox.write_config(folder))

        def command(*arguments: str) -> None:
            click.secho(f"$ pigment-sync {' '.join(arguments)}", dim=True)
            codes.append(run_cli(["--config", config, *arguments]))

        _print_heading(
            "A company on Okta, Entra and OneLogin, and its three Pigment workspaces (all pretend, all real HTTP)"
        )
        command("check")
        _print_heading("The first dry run: nothing is written")
        command("plan", "--out", str(folder / "first-plan.json"))
        _print_heading("The first sync")
        command("sync", "--reason", "the first sync of the demo")
        _print_heading("A week passes")
        for line in sandbox.simulate_week():
            click.echo(f"   {line}")
        _print_heading("The second dry run")
        command("plan", "--out", str(folder / "second-plan.json"))
        (folder / "second-plan.html").write_text(_render_html(folder / "second-plan.json"), "utf-8")
        _print_heading("The second sync")
        command("sync", "--reason", "the second sync of the demo")
        _print_heading("The third dry run finds nothing left to do")
        command("plan", "--exit-code")
    _print_heading("What is left on this machine")
    click.echo(f"   report         {folder / 'second-plan.html'}")
    click.echo(f"   plans          {folder / 'first-plan.json'}, {folder / 'second-plan.json'}")
    click.echo(f"   configuration  {config}")
    click.echo(f"   state          {folder / 'state.db'}")
    click.echo(f"   To play with it: pigment-sync sandbox --out {out}, then any command with --config {config}")
    return max(codes, default=ExitCode.DONE)


def _render_html(plan: Path) -> str:
    from agent.report.parse import parse_document
    from agent.report.render import Format, render

    return render(parse_document(plan.read_bytes(), str(plan)), Format.HTML)
