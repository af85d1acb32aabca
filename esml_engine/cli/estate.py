"""Commands on the estate itself: make one, its people, its settings, its worker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from esml_engine.cli.face import How, ModelArg, app, changes, cut, open_, progress, say, state

new_app = typer.Typer(help="Make a project or a model.", no_args_is_help=True)
member_app = typer.Typer(help="Roles of people.", no_args_is_help=True)
catalogue_app = typer.Typer(help="The catalogue.", no_args_is_help=True)
app.add_typer(new_app, name="new")
app.add_typer(member_app, name="member")
app.add_typer(catalogue_app, name="catalogue")
Scope = Annotated[str, typer.Argument(metavar="estate|PROJECT")]


@app.command()
def init(
    dir_: Annotated[str, typer.Argument(metavar="DIR")],
    environments: Annotated[str, typer.Option(help="comma-separated")] = "dev,test,prod",
) -> None:
    """Make an estate."""
    from esml_engine.estate import init_estate

    say(init_estate(dir_, cut(environments)))


@app.command()
def demo(dir_: Annotated[str, typer.Argument(metavar="[DIR]")] = "") -> None:
    """Make the demo estate and run its cycle with real data."""
    from esml_engine.demo import run_demo

    say(
        run_demo(
            Path(dir_ or state.estate or os.environ.get("ESML_ESTATE") or "estate"), on_progress=progress
        )
    )


@new_app.command("project")
@changes
def new_project(
    name: str,
    team: Annotated[str, typer.Option()],
    how: How,
    owner: Annotated[str, typer.Option()] = "",
    contact: Annotated[str, typer.Option()] = "",
    risk: Annotated[str, typer.Option(help="low, medium or high")] = "medium",
) -> None:
    """Make a project."""
    say(open_().new_project(name, team, owner, contact, risk, **how))


@new_app.command("model")
@changes
def new_model(
    model: ModelArg,
    task: Annotated[str, typer.Option(help="regression, classification, forecasting or analytics")],
    datasets: Annotated[str, typer.Option(help="comma-separated")],
    how: How,
    label: Annotated[str, typer.Option()] = "",
    id_key: Annotated[str, typer.Option("--key", help="the column that joins datasets and names a row")] = "",
    time_column: Annotated[str, typer.Option()] = "",
    series: Annotated[str, typer.Option()] = "",
    horizon: Annotated[int, typer.Option()] = 1,
    frequency: Annotated[str, typer.Option()] = "",
    known: Annotated[str, typer.Option()] = "",
) -> None:
    """Make a model."""
    more: dict[str, Any] = {}
    if task == "forecasting":
        more = {
            "time_column": time_column,
            "series": cut(series),
            "horizon": horizon,
            "frequency": frequency,
            "known": cut(known),
        }
    say(open_().new_model(model, task, cut(datasets), label, id_key, forecast=more, **how))


@member_app.command("add")
@changes
def member_add(on: Scope, actor: str, role: Annotated[str, typer.Option()], how: How) -> None:
    """Give a role."""
    estate = open_()
    answer = estate.member_add(on, actor, role, **how)
    say(answer if how["dry_run"] else estate.members(on))


@member_app.command("remove")
@changes
def member_remove(on: Scope, actor: str, how: How, role: Annotated[str, typer.Option()] = "") -> None:
    """Take a role away."""
    estate = open_()
    answer = estate.member_remove(on, actor, role, **how)
    say(answer if how["dry_run"] else estate.members(on))


@member_app.command("list")
def member_list(on: Annotated[str, typer.Argument(metavar="[estate|PROJECT]")] = "") -> None:
    """Who has which role."""
    say(open_().members(on))


@app.command()
def settings(scope: Annotated[str, typer.Argument(metavar="[estate|PROJECT|MODEL]")] = "estate") -> None:
    """Effective values and where they come from."""
    say(open_().settings(scope))


@app.command("set", context_settings={"ignore_unknown_options": True})  # a value may be negative
@changes
def set_(
    scope: Annotated[str, typer.Argument(metavar="estate|PROJECT|MODEL")],
    name: Annotated[str, typer.Argument(metavar="KEY")],
    value: str,
    how: How,
) -> None:
    """Override a setting; audited."""
    say(open_().set(scope, name, value, **how))


@catalogue_app.command("rebuild")
@changes
def catalogue_rebuild(
    how: How,
    forget: Annotated[
        list[str] | None, typer.Option(metavar="ENV", help="forget tables that are not there any more")
    ] = None,
) -> None:
    """The catalogue anew, from the lakes alone."""
    say(open_().catalogue_rebuild(forget or (), **how))


@app.command()
def doctor(env: Annotated[str, typer.Option("--env")] = "") -> None:
    """What works, and what to do where it does not."""
    say(open_(quiet=True).doctor(env))


@app.command()
def up(
    port: Annotated[int, typer.Option()] = 8501,
    with_demo: Annotated[
        str,
        typer.Option(
            "--with-demo",
            metavar="DIR",
            help="make the demo estate in DIR when there is none, and run its cycle as runs to watch",
        ),
    ] = "",
    host: Annotated[
        str, typer.Option(help="the address that the cockpit listens on; beyond loopback without a sign-in")
    ] = "127.0.0.1",
) -> None:
    """Worker, endpoints and cockpit together, until Ctrl-C."""
    from esml_engine.up import up as run

    if not with_demo:
        run(open_(quiet=True).site, port, host=host)
        return
    from esml_engine.demo import NAME, make
    from esml_engine.estate import open_estate

    root = Path(with_demo)
    demo_there = not (root / "estate.toml").exists() or open_estate(root).site.settings.estate.name == NAME
    run(make(root).site if demo_there else open_estate(root).site, port, host=host, demo=demo_there)
