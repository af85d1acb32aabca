"""Commands on data: from IN files to gold, its versions, and what was scored."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from esml_engine.cli.face import Env, How, ModelArg, PurposeOpt, app, changes, model_, say
from esml_engine.errors import UsageError
from esml_engine.refs import check_purpose

TableOpt = Annotated[str, typer.Option(help="<dataset>/<layer>, gold, gold_train, …")]


@app.command()
@changes
def ingest(
    model: ModelArg,
    dataset: str,
    files: Annotated[list[str], typer.Argument(metavar="FILE…")],
    date: Annotated[str, typer.Option(help="YYYY-MM-DD")],
    how: How,
    purpose: PurposeOpt = "train",
    env: Env = "dev",
) -> None:
    """Deliver files into a dataset's IN folder."""
    say(model_(model, env).ingest(dataset, files, date, check_purpose(purpose), **how))


@app.command()
@changes
def refine(
    model: ModelArg,
    how: How,
    layer: Annotated[str, typer.Option(help="bronze, silver or gold")] = "",
    dataset: Annotated[str, typer.Option()] = "",
    purpose: PurposeOpt = "train",
    env: Env = "dev",
) -> None:
    """IN -> bronze -> silver -> gold, only what is stale."""
    say(model_(model, env).refine(layer, dataset, check_purpose(purpose), **how))


@app.command()
@changes
def pipeline(
    model: ModelArg,
    how: How,
    until: Annotated[str, typer.Option(help="gold, trained, test or prod")] = "trained",
    purpose: PurposeOpt = "train",
    env: Env = "dev",
) -> None:
    """The chain as one run."""
    say(model_(model, env).pipeline(until, check_purpose(purpose), **how))


@app.command()
def versions(model: ModelArg, table: TableOpt, env: Env = "dev") -> None:
    """A table's versions."""
    say(model_(model, env).table(table).versions())


@app.command()
def show(
    model: ModelArg,
    table: TableOpt,
    version: Annotated[int | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=0)] = 20,
    env: Env = "dev",
) -> None:
    """First rows of a version."""
    say(model_(model, env).table(table).show(version, limit))


@app.command()
def diff(model: ModelArg, a: int, b: int, table: TableOpt, env: Env = "dev") -> None:
    """What changed from version A to B, by counts."""
    say(model_(model, env).table(table).diff(a, b))


@app.command()
def quarantine(model: ModelArg, dataset: str, purpose: PurposeOpt = "train", env: Env = "dev") -> None:
    """Rows kept aside: file, line, reason, raw text."""
    say(model_(model, env).dataset(dataset).quarantine(check_purpose(purpose)))


@app.command()
@changes
def split(
    model: ModelArg,
    how: How,
    train: Annotated[float | None, typer.Option()] = None,
    validate: Annotated[float | None, typer.Option()] = None,
    test: Annotated[float | None, typer.Option()] = None,
    stratify: Annotated[bool | None, typer.Option("--stratify")] = None,
    group: Annotated[str | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    by: Annotated[str | None, typer.Option(help="key, group or time")] = None,
    env: Env = "dev",
) -> None:
    """Gold into train, validate and test."""
    if by not in (None, "key", "group", "time"):
        raise UsageError(f"no split by {by!r}", hint="key, group or time")
    asked = {"train": train, "validate": validate, "test": test, "stratify": stratify}
    say(model_(model, env).split(**asked, group=group, seed=seed, by=by, **how))


@app.command()
@changes
def score(
    model: ModelArg,
    how: How,
    file: Annotated[str, typer.Argument(metavar="[FILE]")] = "",
    caller: Annotated[str, typer.Option()] = "",
    request_id: Annotated[str | None, typer.Option()] = None,
    parallel: Annotated[int, typer.Option(min=1)] = 1,
    batch: Annotated[bool, typer.Option("--batch")] = False,
    env: Env = "dev",
) -> None:
    """Online through the endpoint, or --batch."""
    m = model_(model, env)
    if batch and parallel > 1:
        raise UsageError("--parallel is of calls to the endpoint", hint="a batch is one job: leave it out")
    if batch:
        say(m.score_batch(file or None, caller or "batch", request_id, **how))
    elif not file:
        raise UsageError("name a file with the rows to score", hint="or score to_score with --batch")
    else:
        say(m.score(file, caller, request_id, parallel, **how))


@app.command()
def scored(
    model: ModelArg,
    since: Annotated[str, typer.Option()] = "",
    until: Annotated[str, typer.Option()] = "",
    caller: Annotated[list[str] | None, typer.Option()] = None,
    model_version: Annotated[list[int] | None, typer.Option()] = None,
    where: Annotated[list[str] | None, typer.Option(metavar='"COLUMN OP VALUE"')] = None,
    order_by: Annotated[str, typer.Option(metavar="C[:desc]")] = "",
    limit: Annotated[int, typer.Option(min=0)] = 100,
    offset: Annotated[int, typer.Option(min=0)] = 0,
    count: Annotated[bool, typer.Option("--count")] = False,
    by: Annotated[str | None, typer.Option(help="day, caller or model_version")] = None,
    out: Annotated[str, typer.Option(metavar="F.csv|F.parquet")] = "",
    env: Env = "dev",
) -> None:
    """Scored rows, filtered."""
    more: dict[str, Any] = {"where": where or [], "order_by": order_by, "limit": limit, "offset": offset}
    found = model_(model, env).scored(
        since, until, caller or [], model_version or [], count_only=count, by=by, **more
    )
    say(found.document(out))


@app.command()
def lineage(
    model: ModelArg,
    table: Annotated[str, typer.Option()] = "",
    version: Annotated[int | None, typer.Option()] = None,
    request_id: Annotated[str, typer.Option()] = "",
    row: Annotated[int, typer.Option()] = 0,
    file: Annotated[str, typer.Option()] = "",
    forward: Annotated[bool, typer.Option("--forward")] = False,
    env: Env = "dev",
) -> None:
    """Where a table version or a scored row comes from."""
    say(model_(model, env).lineage(table, version, request_id, row, file, forward))


view_app = typer.Typer(help="Named views of scored data.", no_args_is_help=True)
app.add_typer(view_app, name="view")


@view_app.command("list")
def view_list(model: ModelArg, env: Env = "dev") -> None:
    """Views that people of the project keep."""
    say(model_(model, env).views())


@view_app.command("save")
@changes
def view_save(
    model: ModelArg,
    name: str,
    how: How,
    since: Annotated[str, typer.Option()] = "",
    until: Annotated[str, typer.Option()] = "",
    caller: Annotated[list[str] | None, typer.Option()] = None,
    model_version: Annotated[list[int] | None, typer.Option()] = None,
    where: Annotated[list[str] | None, typer.Option(metavar='"COLUMN OP VALUE"')] = None,
    order_by: Annotated[str, typer.Option(metavar="C[:desc]")] = "",
    env: Env = "dev",
) -> None:
    """Keep filters under a name."""
    versions = [str(v) for v in model_version or ()]
    filters = {"from": since, "to": until, "caller": caller or [], "version": versions, "where": where or [],
        "sort": order_by}  # fmt: skip
    say(model_(model, env).save_view(name, filters, **how))


@view_app.command("drop")
@changes
def view_drop(model: ModelArg, name: str, how: How, env: Env = "dev") -> None:
    """Forget a view."""
    say(model_(model, env).drop_view(name, **how))
