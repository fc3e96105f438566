"""`sandbox`: serve simulated providers and a simulated Pigment over HTTP on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from agent.errors import ExitCode, UsageError

__all__ = ["sandbox"]


@click.command()
@click.option("--port", type=click.IntRange(1, 65_000), default=8700, show_default=True, help="First of five ports.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same company.")
@click.option("--faults", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="What goes wrong.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("sandbox-out"),
    show_default=True,
    metavar="FOLDER",
    help="Where the ready configuration and its key are written.",
)
def sandbox(port: int, seed: int, faults: Path | None, out: Path) -> int:
    """Serve a pretend Okta, Entra, OneLogin and Pigment here.

    On loopback, on five ports in a row, until Ctrl-C. Writes a ready configuration and a key into the folder;
    docs/sandbox.md tells what to do with it. Exits 2 when a port is taken or the faults can't be read.

    \b
    pigment-sync sandbox &
    pigment-sync --config sandbox-out/config.yaml plan
    pigment-sync sandbox --port 9000 --seed 7 --faults docs/faults.example.yaml
    """
    # The pretend systems are not needed by any other command.
    from sandbox.server import SandboxError, serve

    try:
        serve(port, seed, faults, out)
    except SandboxError as error:
        raise UsageError(str(error), "See docs/sandbox.md and docs/faults.md.") from error
    return ExitCode.DONE
