"""The `esml` command: a thin face over the SDK. `--json`: exactly one document on standard output."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from esml_engine import __version__
from esml_engine.errors import EsmlError, NotYetError, UsageError

app = typer.Typer(
    help="ESML: machine learning on a medallion lake, from IN files to scored rows.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
new_app = typer.Typer(help="Make a project or a model.", no_args_is_help=True)
member_app = typer.Typer(help="Roles of people.", no_args_is_help=True)
catalogue_app = typer.Typer(help="The catalogue.", no_args_is_help=True)
app.add_typer(new_app, name="new")
app.add_typer(member_app, name="member")
app.add_typer(catalogue_app, name="catalogue")


class _State:
    estate: str | None = None
    json: bool = False
    actor: str | None = None


state = _State()

Env = Annotated[str, typer.Option("--env", help="dev, test or prod")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the plan and do nothing")]
PlanHash = Annotated[
    str, typer.Option("--plan", metavar="HASH", help="start only if the plan is still this one")
]
Key = Annotated[str, typer.Option("--idempotency-key", metavar="K", help="same key, same run")]
Detach = Annotated[bool, typer.Option("--detach", help="hand over and return")]
ModelArg = Annotated[str, typer.Argument(metavar="MODEL", help="project/model")]
PurposeOpt = Annotated[str, typer.Option("--purpose", help="train or inference")]


@app.callback()
def main_options(
    estate: Annotated[
        str | None, typer.Option("--estate", metavar="DIR", help="default: ESML_ESTATE, else ./estate")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="one JSON document on standard output")] = False,
    as_: Annotated[
        str | None, typer.Option("--as", metavar="ACTOR", help="act with the rights of ACTOR")
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="show the version")] = False,
) -> None:
    """Options before the command."""
    state.estate, state.json, state.actor = estate, json_, as_
    if version:
        typer.echo(__version__)
        raise typer.Exit


def _open() -> Any:
    from esml_engine.estate import open_estate

    return open_estate(state.estate, act_as=state.actor, on_progress=_progress)


def _progress(row: dict[str, Any]) -> None:
    if row["message"] or row["state"] in ("queued", "running"):
        typer.echo(f"{row['run']} {row['state']} {row['progress']:.0%} {row['message'] or ''}", err=True)


def _model(name: str, env: str) -> Any:
    return _open().model(name, env)


def _how(dry_run: bool, plan: str, key: str, detach: bool) -> dict[str, Any]:
    return {"dry_run": dry_run, "plan": plan or None, "key": key, "detach": detach}


def _say(value: Any, text: Callable[[Any], str] | None = None) -> None:
    """The answer: a document, or words for a person."""
    if hasattr(value, "draft") and hasattr(value, "document"):
        value = {"plan": value.document()}
    if state.json:
        typer.echo(json.dumps(_public(value), default=str))
    else:
        from esml_engine.wording import words

        typer.echo(text(value) if text else words(value))


def _public(value: Any) -> Any:
    """Without what only the engine needs."""
    if isinstance(value, dict):
        return {k: v for k, v in value.items() if k != "trained"}
    return value


# estate


@app.command()
def init(
    dir_: Annotated[str, typer.Argument(metavar="DIR")],
    environments: Annotated[str, typer.Option(help="comma-separated")] = "dev,test,prod",
) -> None:
    """Make an estate."""
    from esml_engine.estate import init_estate

    _say(init_estate(dir_, [e.strip() for e in environments.split(",") if e.strip()]))


@app.command()
def demo(dir_: Annotated[str, typer.Argument(metavar="[DIR]")] = "") -> None:
    """Make the demo estate and run its cycle with real data."""
    from esml_engine.demo import run_demo

    _say(
        run_demo(
            Path(dir_ or state.estate or os.environ.get("ESML_ESTATE") or "estate"), on_progress=_progress
        )
    )


@new_app.command("project")
def new_project(
    name: str, team: Annotated[str, typer.Option()], owner: Annotated[str, typer.Option()] = "", contact: Annotated[str, typer.Option()] = "",
    risk: Annotated[str, typer.Option(help="low, medium or high")] = "medium", dry_run: DryRun = False, plan: PlanHash = "", key: Key = "", detach: Detach = False,
) -> None:  # fmt: skip
    """Make a project."""
    _say(_open().new_project(name, team, owner, contact, risk, **_how(dry_run, plan, key, detach)))


@new_app.command("model")
def new_model(
    model: ModelArg, task: Annotated[str, typer.Option(help="regression, classification, forecasting or analytics")], datasets: Annotated[str, typer.Option(help="comma-separated")],
    label: Annotated[str, typer.Option()] = "", id_key: Annotated[str, typer.Option("--key", help="the column that joins datasets and names a row")] = "",
    time_column: Annotated[str, typer.Option()] = "", series: Annotated[str, typer.Option()] = "", horizon: Annotated[int, typer.Option()] = 1,
    frequency: Annotated[str, typer.Option()] = "", known: Annotated[str, typer.Option()] = "", dry_run: DryRun = False, plan: PlanHash = "", key: Key = "", detach: Detach = False,
) -> None:  # fmt: skip
    """Make a model."""

    def cut(text: str) -> list[str]:
        return [x.strip() for x in text.split(",") if x.strip()]

    more = (
        {
            "time_column": time_column,
            "series": cut(series),
            "horizon": horizon,
            "frequency": frequency,
            "known": cut(known),
        }
        if task == "forecasting"
        else {}
    )
    estate = _open()
    from esml_engine.door.facts import Call
    from esml_engine.refs import ModelRef

    call = Call(
        "new_model",
        str(ModelRef.parse(model)),
        "",
        {"task": task, "datasets": cut(datasets), "label": label, "key": id_key, **more},
    )
    _say(estate._do(call, **_how(dry_run, plan, key, detach)))


@member_app.command("add")
def member_add(
    on: Annotated[str, typer.Argument(metavar="estate|PROJECT")],
    actor: str,
    role: Annotated[str, typer.Option()],
    dry_run: DryRun = False,
    plan: PlanHash = "",
    key: Key = "",
    detach: Detach = False,
) -> None:
    """Give a role."""
    estate = _open()
    answer = estate.member_add(on, actor, role, **_how(dry_run, plan, key, detach))
    _say(answer if dry_run else estate.members(on))


@member_app.command("remove")
def member_remove(
    on: Annotated[str, typer.Argument(metavar="estate|PROJECT")],
    actor: str,
    role: Annotated[str, typer.Option()] = "",
    dry_run: DryRun = False,
    plan: PlanHash = "",
    key: Key = "",
    detach: Detach = False,
) -> None:
    """Take a role away."""
    estate = _open()
    answer = estate.member_remove(on, actor, role, **_how(dry_run, plan, key, detach))
    _say(answer if dry_run else estate.members(on))


@member_app.command("list")
def member_list(on: Annotated[str, typer.Argument(metavar="[estate|PROJECT]")] = "") -> None:
    """Who has which role."""
    _say(_open().members(on))


@app.command()
def settings(scope: Annotated[str, typer.Argument(metavar="[estate|PROJECT|MODEL]")] = "estate") -> None:
    """Effective values and where they come from."""
    _say(_open().settings(scope))


@app.command("set")
def set_(
    scope: Annotated[str, typer.Argument(metavar="estate|PROJECT|MODEL")],
    name: Annotated[str, typer.Argument(metavar="KEY")],
    value: str,
    dry_run: DryRun = False,
    plan: PlanHash = "",
    key: Key = "",
    detach: Detach = False,
) -> None:
    """Override a setting; audited."""
    _say(_open().set(scope, name, value, **_how(dry_run, plan, key, detach)))


# the way of the data


@app.command()
def ingest(
    model: ModelArg, dataset: str, files: Annotated[list[str], typer.Argument(metavar="FILE…")], date: Annotated[str, typer.Option(help="YYYY-MM-DD")], purpose: PurposeOpt = "train", env: Env = "dev",
    dry_run: DryRun = False, plan: PlanHash = "", key: Key = "", detach: Detach = False,
) -> None:  # fmt: skip
    """Deliver files into a dataset's IN folder."""
    _say(
        _model(model, env).ingest(dataset, files, date, _purpose(purpose), **_how(dry_run, plan, key, detach))
    )


def _purpose(text: str) -> Any:
    if text not in ("train", "inference"):
        raise UsageError(f"no purpose {text!r}", hint="train or inference")
    return text


@app.command()
def refine(
    model: ModelArg, layer: Annotated[str, typer.Option(help="bronze, silver or gold")] = "", dataset: Annotated[str, typer.Option()] = "", purpose: PurposeOpt = "train", env: Env = "dev",
    dry_run: DryRun = False, plan: PlanHash = "", key: Key = "", detach: Detach = False,
) -> None:  # fmt: skip
    """IN -> bronze -> silver -> gold, only what is stale."""
    _say(_model(model, env).refine(layer, dataset, _purpose(purpose), **_how(dry_run, plan, key, detach)))


@app.command()
def pipeline(
    model: ModelArg,
    until: Annotated[str, typer.Option(help="gold, trained, test or prod")] = "trained",
    purpose: PurposeOpt = "train",
    env: Env = "dev",
    dry_run: DryRun = False,
    plan: PlanHash = "",
    key: Key = "",
    detach: Detach = False,
) -> None:
    """The chain as one run."""
    _say(_model(model, env).pipeline(until, _purpose(purpose), **_how(dry_run, plan, key, detach)))


@app.command()
def versions(model: ModelArg, table: Annotated[str, typer.Option()], env: Env = "dev") -> None:
    """A table's versions."""
    _say(_model(model, env).table(table).versions())


@app.command()
def show(
    model: ModelArg,
    table: Annotated[str, typer.Option()],
    version: Annotated[int | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=0)] = 20,
    env: Env = "dev",
) -> None:
    """First rows of a version."""
    _say(_model(model, env).table(table).show(version, limit))


@app.command()
def diff(model: ModelArg, a: int, b: int, table: Annotated[str, typer.Option()], env: Env = "dev") -> None:
    """What changed from version A to B, by counts."""
    _say(_model(model, env).table(table).diff(a, b))


@app.command()
def quarantine(model: ModelArg, dataset: str, purpose: PurposeOpt = "train", env: Env = "dev") -> None:
    """Rows kept aside: file, line, reason, raw text."""
    _say(_model(model, env).dataset(dataset).quarantine(_purpose(purpose)))


@app.command()
def split(
    model: ModelArg, train: Annotated[float | None, typer.Option()] = None, validate: Annotated[float | None, typer.Option()] = None, test: Annotated[float | None, typer.Option()] = None,
    stratify: Annotated[bool | None, typer.Option("--stratify")] = None, group: Annotated[str | None, typer.Option()] = None, seed: Annotated[int | None, typer.Option()] = None,
    by: Annotated[str | None, typer.Option(help="key, group or time")] = None, env: Env = "dev", dry_run: DryRun = False, plan: PlanHash = "", key: Key = "", detach: Detach = False,
) -> None:  # fmt: skip
    """Gold into train, validate and test."""
    if by not in (None, "key", "group", "time"):
        raise UsageError(f"no split by {by!r}", hint="key, group or time")
    _say(
        _model(model, env).split(
            train=train,
            validate=validate,
            test=test,
            stratify=stratify,
            group=group,
            seed=seed,
            by=by,
            **_how(dry_run, plan, key, detach),
        )
    )


@app.command()
def train(
    model: ModelArg,
    profile: Annotated[str, typer.Option()] = "",
    budget: Annotated[float | None, typer.Option(help="seconds")] = None,
    env: Env = "dev",
    dry_run: DryRun = False,
    plan: PlanHash = "",
    key: Key = "",
    detach: Detach = False,
) -> None:
    """Train with the environment's profile; registers a version."""
    _say(_model(model, env).train(profile, budget, **_how(dry_run, plan, key, detach)))


@app.command()
def register(
    model: ModelArg,
    run: str,
    env: Env = "dev",
    dry_run: DryRun = False,
    plan: PlanHash = "",
    key: Key = "",
    detach: Detach = False,
) -> None:
    """A past run's model as a version."""
    _say(_model(model, env).register(run, **_how(dry_run, plan, key, detach)))


@app.command()
def leaderboard(
    model: ModelArg, env: Annotated[str, typer.Option("--env", help="an environment, or all")] = "all"
) -> None:
    """Candidates, best first."""
    _say(_open().model(model, "dev" if env == "all" else env).leaderboard(env))


@app.command()
def compare(
    model: ModelArg,
    from_: Annotated[str, typer.Option("--from")] = "dev",
    to: Annotated[str, typer.Option("--to")] = "test",
    version: Annotated[int | None, typer.Option()] = None,
) -> None:
    """Champion and challenger on the same rows (next version)."""
    _model(model, from_).compare(to=to, version=version)


@app.command()
def promote(
    model: ModelArg,
    from_: Annotated[str, typer.Option("--from")] = "dev",
    to: Annotated[str, typer.Option("--to")] = "test",
    version: Annotated[int | None, typer.Option()] = None,
) -> None:
    """To the next environment (next version)."""
    _model(model, from_).promote(to=to, version=version)


@app.command()
def requests(state_: Annotated[str, typer.Option("--state")] = "waiting") -> None:
    """What waits for approval (next version)."""
    raise NotYetError("requests come with promotion, in the next version")


@app.command()
def approve(request: str, reason: Annotated[str, typer.Option()] = "") -> None:
    """Approve a request (next version)."""
    raise NotYetError("approvals come with promotion, in the next version")


@app.command()
def refuse(request: str, reason: Annotated[str, typer.Option()] = "") -> None:
    """Refuse a request (next version)."""
    raise NotYetError("approvals come with promotion, in the next version")


@app.command()
def rollback(
    model: ModelArg,
    env: Env = "dev",
    dry_run: DryRun = False,
    plan: PlanHash = "",
    key: Key = "",
    detach: Detach = False,
) -> None:
    """Champion and previous change places."""
    _say(_model(model, env).rollback(**_how(dry_run, plan, key, detach)))


@app.command()
def deploy(
    model: ModelArg,
    version: Annotated[int | None, typer.Option()] = None,
    traffic: Annotated[int | None, typer.Option()] = None,
    env: Env = "dev",
    dry_run: DryRun = False,
    plan: PlanHash = "",
    key: Key = "",
    detach: Detach = False,
) -> None:
    """Blue/green with a smoke test."""
    _say(_model(model, env).deploy(version, traffic, **_how(dry_run, plan, key, detach)))


@app.command()
def keys(
    model: ModelArg,
    rotate: Annotated[bool, typer.Option("--rotate")] = False,
    env: Env = "dev",
    dry_run: DryRun = False,
    plan: PlanHash = "",
    key: Key = "",
    detach: Detach = False,
) -> None:
    """The endpoint's address and key; audited."""
    _say(_model(model, env).keys(rotate, **_how(dry_run, plan, key, detach)))


@app.command()
def score(
    model: ModelArg, file: Annotated[str, typer.Argument(metavar="[FILE]")] = "", caller: Annotated[str, typer.Option()] = "", request_id: Annotated[str | None, typer.Option()] = None,
    parallel: Annotated[int, typer.Option(min=1)] = 1, batch: Annotated[bool, typer.Option("--batch")] = False, env: Env = "dev", dry_run: DryRun = False, plan: PlanHash = "", key: Key = "", detach: Detach = False,
) -> None:  # fmt: skip
    """Online through the endpoint, or --batch."""
    m, how = _model(model, env), _how(dry_run, plan, key, detach)
    if batch:
        _say(m.score_batch(file or None, caller or "batch", request_id, **how))
    elif not file:
        raise UsageError("name a file with the rows to score", hint="or score to_score with --batch")
    else:
        _say(m.score(file, caller, request_id, parallel, **how))


@app.command()
def scored(
    model: ModelArg, since: Annotated[str, typer.Option()] = "", until: Annotated[str, typer.Option()] = "", caller: Annotated[list[str] | None, typer.Option()] = None,
    model_version: Annotated[list[int] | None, typer.Option()] = None, where: Annotated[list[str] | None, typer.Option(metavar='"COLUMN OP VALUE"')] = None, order_by: Annotated[str, typer.Option(metavar="C[:desc]")] = "",
    limit: Annotated[int, typer.Option(min=0)] = 100, offset: Annotated[int, typer.Option(min=0)] = 0, count: Annotated[bool, typer.Option("--count")] = False,
    by: Annotated[str | None, typer.Option(help="day, caller or model_version")] = None, out: Annotated[str, typer.Option(metavar="F.csv|F.parquet")] = "", env: Env = "dev",
) -> None:  # fmt: skip
    """Scored rows, filtered."""
    found = _model(model, env).scored(
        since,
        until,
        caller or [],
        model_version or [],
        where=where or [],
        order_by=order_by,
        limit=limit,
        offset=offset,
        count_only=count,
        by=by,
    )
    _say(found.document(out))


@app.command()
def lineage(
    model: ModelArg, table: Annotated[str, typer.Option()] = "", version: Annotated[int | None, typer.Option()] = None, request_id: Annotated[str, typer.Option()] = "", row: Annotated[int, typer.Option()] = 0,
    file: Annotated[str, typer.Option()] = "", forward: Annotated[bool, typer.Option("--forward")] = False, env: Env = "dev",
) -> None:  # fmt: skip
    """Where a table version or a scored row comes from."""
    _say(_model(model, env).lineage(table, version, request_id, row, file, forward))


# governance and operation


@app.command()
def cost(
    scope: Annotated[str, typer.Argument(metavar="[PROJECT|MODEL]")] = "estate", env: Env = "dev"
) -> None:
    """Predicted, spent, budget, month end, policy."""
    _say(_open().cost(scope, env))


@app.command()
def status(scope: Annotated[str, typer.Argument(metavar="[PROJECT|MODEL]")] = "") -> None:
    """How far each model is, from evidence."""
    _say(_open().status(scope))


@app.command()
def runs(
    run: Annotated[str, typer.Argument(metavar="[RUN]")] = "",
    state_: Annotated[str, typer.Option("--state")] = "",
    limit: Annotated[int, typer.Option()] = 200,
) -> None:
    """Runs, newest first."""
    _say(_open().runs(run, state=state_, limit=limit))


@app.command()
def cancel(run: str) -> None:
    """End an open run."""
    _say(_open().cancel(run))


@app.command()
def retry(run: str, detach: Detach = False) -> None:
    """Run a failed or cancelled run again from where it stopped."""
    _say(_open().retry(run, detach=detach))


@app.command()
def audit(
    verify: Annotated[bool, typer.Option("--verify")] = False, actor: Annotated[str, typer.Option()] = "", act: Annotated[str, typer.Option()] = "", since: Annotated[str, typer.Option()] = "", limit: Annotated[int, typer.Option()] = 1000,
) -> None:  # fmt: skip
    """Who did what; --verify walks the chain."""
    _say(_open().audit(verify=verify, actor=actor, act=act, since=since, limit=limit))


@catalogue_app.command("rebuild")
def catalogue_rebuild() -> None:
    """The catalogue anew, from the lakes alone."""
    _say(_open().catalogue_rebuild())


@app.command()
def doctor(env: Annotated[str, typer.Option("--env")] = "") -> None:
    """What works, and what to do where it does not."""
    _say(_open().doctor(env))


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
) -> None:
    """Worker, endpoints and cockpit together, until Ctrl-C."""
    from esml_engine.up import up as run

    if not with_demo:
        run(_open().site, port)
        return
    from esml_engine.demo import NAME, make
    from esml_engine.estate import open_estate

    root = Path(with_demo)
    demo_there = not (root / "estate.toml").exists() or open_estate(root).site.settings.estate.name == NAME
    run(make(root).site if demo_there else open_estate(root).site, port, demo=demo_there)


def _keep_only(words: list[str]) -> None:
    """Leave out commands that the line does not name: building all of them takes longer than running one."""
    if "--help" in words:
        return
    commands = [c for c in app.registered_commands if c.callback and (c.name or c.callback.__name__) in words]
    groups = [g for g in app.registered_groups if g.name in words]
    if commands or groups:
        app.registered_commands, app.registered_groups = commands, groups


def main() -> None:
    """Entry point: errors become the contract's document and exit code."""
    _keep_only(sys.argv[1:])
    try:
        code = app(standalone_mode=False)
    except EsmlError as e:
        sys.exit(_fail(e))
    except KeyboardInterrupt:
        sys.exit(_fail(UsageError("interrupted", hint="a run that was handed over goes on: esml runs"), 1))
    except Exception as e:  # noqa: BLE001 - the boundary of the process
        if type(e).__module__.startswith(("click", "typer")) and hasattr(e, "format_message"):
            error = UsageError(e.format_message(), hint="see --help")
            sys.exit(_fail(error))
        unforeseen = EsmlError(
            f"{type(e).__name__}: {e}", hint="report this with its id and the trace on standard error"
        )
        traceback.print_exc()
        sys.exit(_fail(unforeseen))
    sys.exit(code if isinstance(code, int) else 0)


def _fail(error: EsmlError, code: int | None = None) -> int:
    if state.json or "--json" in sys.argv:
        typer.echo(json.dumps(error.document(), default=str))
    else:
        typer.echo(
            f"{error.message}\n{'→ ' + error.hint if error.hint else ''} [{error.code}, {error.id}]", err=True
        )
    return error.exit_code if code is None else code


if __name__ == "__main__":
    main()
