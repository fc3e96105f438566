"""`sandbox`: serve simulated providers and a simulated Pigment over HTTP on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from agent.replayer import Replay

__all__ = ["sandbox"]


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65_000), default=8700, show_default=True, help="First of five consecutive ports."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the sample company.")
@click.option(
    "--faults", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="File of faults to simulate."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("sandbox-out"),
    show_default=True,
    metavar="FOLDER",
    help="Folder for the configuration and its key.",
)
@click.option(
    "--replay",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Serve a recording of `pigment-sync record` instead of the sample company.",
)
def sandbox(port: int, seed: int, faults: Path | None, out: Path, replay: Path | None) -> int:
    """Simulate Okta, Entra, OneLogin and Pigment locally.

    Listens on five consecutive ports of the loopback interface until Ctrl-C. Writes a configuration and a key to the
    folder; docs/sandbox.md describes how to use them. Exits 2 if a port is in use or the faults can't be read.

    \b
    pigment-sync sandbox &
    pigment-sync --config sandbox-out/config.yaml plan
    pigment-sync sandbox --port 9000 --seed 7 --faults docs/faults.example.yaml
    pigment-sync sandbox --replay problem.jsonl
    """
    if replay is not None:
        if faults is not None:
            raise UsageError("--faults and --replay exclude each other.", "A replay answers as it was recorded.")
        _serve_replay(replay, port, out)
        return ExitCode.DONE
    # No other command needs the simulated systems.
    from sandbox.server import SandboxError, serve

    try:
        serve(port, seed, faults, out)
    except SandboxError as error:
        raise UsageError(str(error), "See docs/sandbox.md and docs/faults.md.") from error
    return ExitCode.DONE


def _serve_replay(recording: Path, port: int, out: Path) -> None:
    """Serve *recording* until SIGINT or SIGTERM, with a configuration and a state in the folder *out*."""
    from agent.replayer import load_replay, write_replay_files
    from sandbox.replay import RecordedAnswers, host_replay, wait_for_stop
    from sandbox.server import SandboxError

    answers = RecordedAnswers()
    replay = load_replay(recording, answers.add)
    try:
        with wait_for_stop() as stopped, host_replay(answers, replay.config["connectors"], port) as urls:
            config = write_replay_files(replay, urls, out)
            click.echo(replay_banner(replay, recording, config))
            stopped.wait()
    except SandboxError as error:
        raise UsageError(str(error), "See docs/record.md.") from error
    click.echo("The replay has stopped.")


def replay_banner(replay: Replay, recording: Path, config: Path) -> str:
    """Return what a replay prints: the plans that were recorded, and the commands that plan the same again."""
    names = shlex.quote(str(config))
    lines = [f"The replay of {recording} is running (made by pigment-sync {replay.header['release']}).", ""]
    for plan in replay.plans:
        counts = plan.get("counts", {})
        shown = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or plan["status"]
        lines += [f"  {plan['workspace']}: {shown}", f"  pigment-sync --config {names} plan -w {plan['workspace']}", ""]
    lines.append("Plan again within minutes: limits look back 60 minutes. Stop with Ctrl-C.")
    return "\n".join(lines)
