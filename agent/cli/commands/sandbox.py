"""`sandbox`: serve simulated providers and a simulated Pigment over HTTP on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from agent.errors import ExitCode, UsageError

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
def sandbox(port: int, seed: int, faults: Path | None, out: Path) -> int:
    """Simulate Okta, Entra, OneLogin and Pigment locally.

    Listens on five consecutive ports of the loopback interface until Ctrl-C. Writes a configuration and a key to the
    folder; docs/sandbox.md describes how to use them. Exits 2 if a port is in use or the faults can't be read.

    \b
    pigment-sync sandbox &
    pigment-sync --config sandbox-out/config.yaml plan
    pigment-sync sandbox --port 9000 --seed 7 --faults docs/faults.example.yaml
    """
    # No other command needs the simulated systems.
    from sandbox.server import SandboxError, serve

    try:
        serve(port, seed, faults, out)
    except SandboxError as error:
        raise UsageError(str(error), "See docs/sandbox.md and docs/faults.md.") from error
    return ExitCode.DONE
