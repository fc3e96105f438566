"""`demo`: a first dry run and sync, then a week of changes, against the sandbox."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from agent.errors import ExitCode, UsageError

__all__ = ["demo"]


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-out"),
    show_default=True,
    metavar="FOLDER",
    help="Folder for the report, the state and the configuration.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the sample company.")
@click.pass_context
def demo(context: click.Context, out: Path, seed: int) -> int:
    """Show the product on this machine, in seconds.

    Simulates three identity providers and three workspaces; needs nothing else. Runs a first sync, simulates a week of
    changes, and syncs again. Writes the report, the plans and the state to the folder. Exits with the worst code of its
    commands, which is 0.

    \b
    pigment-sync demo
    pigment-sync demo --seed 7 --out /tmp/demo
    """
    return _run_demo(out, seed, context.find_root().obj.run)


def _run_demo(out: Path, seed: int, run: Callable[[Sequence[str]], int]) -> int:
    """Run the demo with its files in *out*, and return the worst exit code of its commands."""
    # The simulated systems are not needed by any other command.
    from sandbox.server import run_sandbox

    codes: list[int] = []
    with _prepare_folder(out) as folder, run_sandbox(seed=seed) as sandbox:
        config = str(sandbox.write_config(folder))

        def command(*arguments: str) -> None:
            click.secho(f"$ pigment-sync {' '.join(arguments)}", dim=True)
            codes.append(run(["--config", config, *arguments]))

        _print_heading(
            "A company on Okta, Entra and OneLogin, with three Pigment workspaces (all simulated, over real HTTP)"
        )
        command("check")
        _print_heading("First dry run: nothing is written")
        command("plan", "--out", str(folder / "first-plan.json"))
        _print_heading("First sync")
        command("sync", "--reason", "first sync of the demo")
        _print_heading("A week passes")
        for line in sandbox.simulate_week():
            click.echo(f"   {line}")
        _print_heading("Second dry run")
        command("plan", "--out", str(folder / "second-plan.json"))
        (folder / "second-plan.html").write_text(_render_html(folder / "second-plan.json"), "utf-8")
        _print_heading("Second sync")
        command("sync", "--reason", "second sync of the demo")
        _print_heading("Third dry run: nothing left to do")
        command("plan", "--exit-code")
    _print_heading("Files")
    click.echo(f"   report         {folder / 'second-plan.html'}")
    click.echo(f"   plans          {folder / 'first-plan.json'}, {folder / 'second-plan.json'}")
    click.echo(f"   configuration  {config}")
    click.echo(f"   state          {folder / 'state.db'}")
    click.echo(f"   To explore: pigment-sync sandbox --out {out}, then any command with --config {config}")
    return max(codes, default=ExitCode.DONE)


@contextlib.contextmanager
def _prepare_folder(out: Path) -> Iterator[Path]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        # The state of a previous demo has links to people of another company.
        for leftover in out.glob("state.db*"):
            leftover.unlink()
    except OSError as error:
        raise UsageError(f"{out} can't be used ({error.strerror}).", "Name another folder with --out.") from error
    yield out


def _print_heading(text: str) -> None:
    click.echo()
    click.secho(f"── {text}", bold=True)


def _render_html(plan: Path) -> str:
    from agent.plan_parser import parse_document
    from agent.report.render import Format, render

    return render(parse_document(plan.read_bytes(), str(plan)), Format.HTML)
