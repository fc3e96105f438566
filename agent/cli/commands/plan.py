"""`plan`: the dry run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from agent.bootstrap import Components
from agent.cli.options import report_format_option, user_option, verbose_option, workspace_option
from agent.cli.output import document_from_results, print_document, write_file
from agent.cli.runtime import run_with_components, warn_about_state
from agent.engine.dryrun import dry_run
from agent.engine.request import RunRequest, RunResult
from agent.errors import worst_exit_code
from agent.model.run import Trigger
from agent.report.document import encode_document
from agent.report.render import Format

__all__ = ["plan"]


@click.command()
@workspace_option
@user_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also save the plan as JSON, for apply.",
)
@report_format_option
@click.option("--exit-code", is_flag=True, help="Exit 3 if a sync would make changes, 4 if a guard holds changes.")
@verbose_option
@click.pass_context
def plan(  # noqa: PLR0913  (click hands each option by name)
    context: click.Context,
    names: Sequence[str],
    user: str,
    out: Path | None,
    output_format: Format,
    exit_code: bool,
    verbose: bool,
) -> int:
    """Show what a sync would change, and why (dry run).

    Reads the identity providers, the workspaces and the state. Never writes to a workspace; records the run in the
    journal. Exits 6 if a read was incomplete; with --exit-code also 3 and 4.

    \b
    pigment-sync plan
    pigment-sync plan -w pigment-latam --format html > plan.html
    pigment-sync plan --user ana.souza@acme.com -v
    pigment-sync plan --out plan.json && pigment-sync apply plan.json
    """

    async def body(components: Components) -> list[RunResult]:
        request = RunRequest(Trigger.PLAN, user=user)
        return await dry_run(
            components.planner,
            components.read_only_workspaces,
            names,
            request,
            exit_code=exit_code,
            tracer=components.sync.tracer,
        )

    results = run_with_components(context, body, is_reading=True)
    warn_about_state(results)
    document = document_from_results(results, user)
    if out is not None:
        write_file(out, encode_document(document))
    print_document(document, output_format, {}, verbose=verbose, shows_digest=out is not None)
    return worst_exit_code(result.exit_code for result in results)
