"""Commands on models: train, compare, promote, decide, deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esml_engine.cli.face import Env, How, ModelArg, VersionOpt, app, changes, model_, open_, say
from esml_engine.errors import FailedError

From = Annotated[str, typer.Option("--from", help="the environment that it comes from")]
To = Annotated[str, typer.Option("--to", help="the environment that it goes to")]
Reason = Annotated[str, typer.Option(help="why; kept with the decision")]
Text = Annotated[str, typer.Option(help="what you say; kept with the request")]


@app.command()
@changes
def train(
    model: ModelArg,
    how: How,
    profile: Annotated[str, typer.Option()] = "",
    budget: Annotated[float | None, typer.Option(help="seconds")] = None,
    env: Env = "dev",
) -> None:
    """Train with the environment's profile; registers a version."""
    say(model_(model, env).train(profile, budget, **how))


@app.command()
@changes
def register(model: ModelArg, run: str, how: How, env: Env = "dev") -> None:
    """A past training run's model as a version.

    For a run whose training was done and that was cancelled before it registered; esml runs lists runs. The gates judge it now.
    """
    say(model_(model, env).register(run, **how))


@app.command()
def leaderboard(
    model: ModelArg, env: Annotated[str, typer.Option("--env", help="an environment, or all")] = "all"
) -> None:
    """Candidates, best first, and which are ready to be promoted."""
    say(open_().model(model, "" if env == "all" else env).leaderboard(env))


@app.command()
@changes
def compare(
    model: ModelArg, how: How, from_: From = "dev", to: To = "test", version: VersionOpt = None
) -> None:
    """The target's champion and a challenger on the same rows: gates, margins, what would change the verdict."""
    say(model_(model, from_).compare(to, version, **how))


@app.command()
@changes
def promote(
    model: ModelArg, how: How, from_: From = "dev", to: To = "test", version: VersionOpt = None
) -> None:
    """To the next environment: compared, judged, approved where policy asks for it, copied, made champion."""
    say(model_(model, from_).promote(to, version, **how))


@app.command()
def requests(
    state_: Annotated[str, typer.Option("--state", help="waiting, decided, or empty for all")] = "waiting",
) -> None:
    """What waits for somebody's decision."""
    say(open_().requests(state_))


@app.command()
@changes
def approve(request: str, how: How, reason: Reason = "") -> None:
    """Approve somebody else's request; what it held goes on."""
    say(open_().approve(request, reason, **how))


@app.command()
@changes
def refuse(request: str, how: How, reason: Reason = "") -> None:
    """Refuse somebody else's request."""
    say(open_().refuse(request, reason, **how))


@app.command()
@changes
def ask(request: str, how: How, text: Text = "") -> None:
    """Ask the requester something before deciding."""
    say(open_().ask(request, text, **how), waits=False)


@app.command()
@changes
def answer(request: str, how: How, text: Text = "") -> None:
    """Answer the open question about a request."""
    say(open_().answer(request, text, **how), waits=False)


@app.command()
@changes
def delegate(
    request: str,
    how: How,
    to: Annotated[str, typer.Option("--to", metavar="ACTOR", help="somebody who may decide it, too")] = "",
    reason: Reason = "",
) -> None:
    """Hand a request to somebody else who may decide; all who may still can."""
    say(open_().delegate(request, to, reason, **how), waits=False)


@app.command()
def evidence(
    model: ModelArg,
    id_: Annotated[str, typer.Option("--id", help="a pack's id; else the newest of the environment")] = "",
    out: Annotated[str, typer.Option(metavar="F.html|F.json", help="write it as one file")] = "",
    env: Env = "prod",
) -> None:
    """The evidence behind a promotion or a refusal."""
    say(model_(model, env).evidence(id_, out))


@app.command()
def verify(file: Annotated[str, typer.Argument(metavar="F.html|F.json")]) -> None:
    """Check the hashes of an evidence pack; needs no estate. Hold its sha256 against the one in the audit log."""
    from esml_engine.promotion import evidence

    checked = evidence.verify(Path(file))
    if not checked["ok"]:
        raise FailedError(
            f"{file} is not what was decided on: {checked['reason']}",
            hint="ask for the original: esml evidence",
            **checked,
        )
    say(checked)


@app.command()
@changes
def rollback(model: ModelArg, how: How, env: Env = "dev") -> None:
    """Champion and previous change places."""
    say(model_(model, env).rollback(**how))


@app.command()
@changes
def deploy(
    model: ModelArg,
    how: How,
    version: VersionOpt = None,
    traffic: Annotated[int | None, typer.Option()] = None,
    env: Env = "dev",
) -> None:
    """Blue/green with a smoke test."""
    say(model_(model, env).deploy(version, traffic, **how))


@app.command()
@changes
def undeploy(model: ModelArg, how: How, env: Env = "dev") -> None:
    """End the endpoint; what it answered stays in scored."""
    say(model_(model, env).undeploy(**how))


@app.command()
@changes
def keys(
    model: ModelArg, how: How, rotate: Annotated[bool, typer.Option("--rotate")] = False, env: Env = "dev"
) -> None:
    """The endpoint's address and key; audited."""
    say(model_(model, env).keys(rotate, **how))
