"""Commands that show how everything is: costs, status, runs, audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from esml_engine.cli.face import WAITING_EXIT, Env, How, ModelArg, app, changes, model_, open_, say
from esml_engine.errors import FailedError

Scope = Annotated[str, typer.Argument(metavar="[PROJECT|MODEL]")]


@app.command()
def cost(scope: Scope = "estate", env: Env = "dev") -> None:
    """Predicted, spent, budget, month end, policy."""
    say(open_().cost(scope, env))


@app.command()
def status(scope: Scope = "") -> None:
    """How far each model is, from evidence."""
    say(open_(whole=not scope).status(scope))


@app.command()
def runs(
    run: Annotated[str, typer.Argument(metavar="[RUN]")] = "",
    state_: Annotated[str, typer.Option("--state")] = "",
    limit: Annotated[int, typer.Option()] = 200,
) -> None:
    """Runs, newest first."""
    say(open_().runs(run, state=state_, limit=limit))


def _acted(run: str, act: Callable[[Any], Any]) -> None:
    """An act on a run: its plan, or the run's row after it."""
    estate = open_()
    said = act(estate)
    if not isinstance(said, dict):
        return say(said)
    if said.get("waits"):
        typer.echo(f"→ {said['waits']}", err=True)
    say(estate.runs(run))
    if said.get("state") == "waiting":
        raise typer.Exit(WAITING_EXIT)


@app.command()
@changes
def cancel(run: str, how: How) -> None:
    """End an open run; answers its row."""
    _acted(run, lambda estate: estate.cancel(run, **how))


@app.command()
@changes
def retry(run: str, how: How) -> None:
    """Run a failed or cancelled run again from where it stopped; answers its row."""
    _acted(run, lambda estate: estate.retry(run, **how))


@app.command()
def audit(
    verify: Annotated[bool, typer.Option("--verify")] = False,
    actor: Annotated[str, typer.Option()] = "",
    act: Annotated[str, typer.Option()] = "",
    since: Annotated[str, typer.Option()] = "",
    until: Annotated[str, typer.Option(help="a day, as a whole, or an ISO time")] = "",
    object_: Annotated[str, typer.Option("--object", help="a model, or a project with its models")] = "",
    result: Annotated[str, typer.Option(help="done, refused, failed, …")] = "",
    limit: Annotated[int, typer.Option()] = 1000,
) -> None:
    """Who did what; --verify walks the chain, and fails when it is not whole."""
    when = {"since": since, "until": until}
    found = open_().audit(
        verify=verify, actor=actor, act=act, object_=object_, result=result, limit=limit, **when
    )
    if verify and not found["ok"]:
        raise FailedError(
            f"the audit chain is broken at event {found['first_bad']}: {found['reason']}",
            hint="keep copies of the database, audit-head.json and audit.key, and compare them with a backup; when that is done take the two files away: the next event anchors anew and says so",
            **found,
        )
    say(found)


@app.command("exception")
@changes
def ask_exception(
    model: ModelArg,
    how: How,
    amount: Annotated[
        float,
        typer.Option(
            help="what each run may be predicted to cost, p90; of a limit of the month: all that comes, together"
        ),
    ],
    reason: Annotated[str, typer.Option(help="why; whoever decides reads it")],
    days: Annotated[int, typer.Option(help="how long it shall hold")] = 7,
    limit: Annotated[
        str, typer.Option(help="which one: max_cost_run, max_cost_month or budget.month")
    ] = "max_cost_run",
    env: Env = "dev",
) -> None:
    """Ask another person for an exception from a limit on money."""
    say(model_(model, env).ask_exception(amount, reason, days, limit, **how))
