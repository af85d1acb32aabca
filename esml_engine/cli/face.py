"""What every command shares: the app, its options, how an answer is said, and how a command becomes an act's face."""

from __future__ import annotations

import functools
import inspect
import json
import shutil
import sys
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from esml_engine import __version__
from esml_engine.errors import EsmlError
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import INTERNAL

WAITING_EXIT = 4

app = typer.Typer(
    help="ESML: machine learning on a medallion lake, from IN files to scored rows.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class _State:
    estate: str | None = None
    json: bool = False
    actor: str | None = None
    opened: Any = None


state = _State()

Env = Annotated[str, typer.Option("--env", help="dev, test or prod")]
ModelArg = Annotated[str, typer.Argument(metavar="MODEL", help="project/model")]
PurposeOpt = Annotated[str, typer.Option("--purpose", help="train or inference")]
VersionOpt = Annotated[int | None, typer.Option(help="a version of the model")]

_HOW: dict[str, tuple[Any, Any]] = {
    "dry_run": (
        Annotated[bool, typer.Option("--dry-run", help="print the plan and do nothing")],
        False,
    ),
    "plan": (
        Annotated[
            str, typer.Option("--plan", metavar="HASH", help="start only if the plan is still this one")
        ],
        "",
    ),
    "idempotency_key": (
        Annotated[str, typer.Option("--idempotency-key", metavar="K", help="same key, same run")],
        "",
    ),
    "detach": (Annotated[bool, typer.Option("--detach", help="hand over and return")], False),
}
How = dict[str, Any]
"""How an act is started: what `changes` adds to a command, under the parameter `how`."""


def changes(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that changes or spends its four options; it gets them as one dictionary `how`."""
    hints = get_type_hints(command, include_extras=True)
    given = [p for n, p in inspect.signature(command).parameters.items() if n != "how"]
    parameters = [p.replace(annotation=hints[p.name]) for p in given]
    parameters += [
        inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)
        for n, (kind, default) in _HOW.items()
    ]

    @functools.wraps(command)
    def face(**values: Any) -> None:
        how = {n: values.pop(n) for n in _HOW}
        command(**values, how={**how, "plan": how["plan"] or None})

    face.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    face.__annotations__ = {p.name: p.annotation for p in parameters}
    return face


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


def open_(*, whole: bool = False, quiet: bool = False) -> Any:
    """The estate that the options name.

    A settings file that is wrong stops only what is about its own project or model, which is said beside the answer;
    with `whole` it stops everything, `quiet`: the answer itself says it.
    """
    from esml_engine.estate import open_estate

    found = open_estate(state.estate, act_as=state.actor, on_progress=progress, lenient=not whole)
    state.opened = found
    if not quiet:
        for error in found.site.files.broken.values():
            typer.echo(f"left out until it is mended: {error.message}", err=True)
    return found


def model_(name: str, env: str) -> Any:
    """A model of it."""
    return open_(quiet=True).model(name, env)


def progress(row: dict[str, Any]) -> None:
    """One line on standard error when a run moved."""
    if row["message"] or row["state"] in ("queued", "running"):
        typer.echo(f"{row['run']} {row['state']} {row['progress']:.0%} {row['message'] or ''}", err=True)


def _unreached(plan: Any) -> None:
    """Say beside a plan that what it counts on can't be seen now: the start would be refused."""
    from esml_engine.door import skeleton

    call, site = plan.call, state.opened.site
    if "/" not in call.object:
        return
    for env in dict.fromkeys((call.env, str(call.params.get("to") or ""))):
        try:
            if env in site.settings.environments:
                skeleton.require_reached(site, ModelRef.parse(call.object), env)
        except EsmlError as e:
            typer.echo(f"planned as it was recorded: {e.message}\n→ {e.hint}", err=True)


def say(value: Any, *, waits: bool = True) -> None:
    """The answer: a document, or words for a person. One that waits for an approval ends with exit code 4.

    `waits`: whether that waiting is what the command itself ended with.
    """
    if hasattr(value, "draft") and hasattr(value, "document"):
        _unreached(value)
        value = {"plan": value.document()}
    if state.json:
        typer.echo(json.dumps(_public(value), default=str))
    else:
        from esml_engine.wording import words

        on_terminal = sys.stdout.isatty()
        typer.echo(words(_brief(value), room=shutil.get_terminal_size().columns if on_terminal else 0))
    if waits and isinstance(value, dict) and value.get("state") == "waiting" and value.get("request"):
        raise typer.Exit(WAITING_EXIT)


def _public(value: Any) -> Any:
    """Without what only the engine needs."""
    if isinstance(value, dict):
        return {k: v for k, v in value.items() if k not in INTERNAL}
    return value


# for programs and pages, not for somebody who reads a terminal; --json has them
_LONG = frozenset(
    ("distribution", "direction", "bootstrap", "intervals", "detail", "trained", "copied", "importance", "example", "signature")
)  # fmt: skip


def _brief(value: Any, *, row: bool = False) -> Any:
    """An answer without what would fill screens; a table's rows without their nested tables."""
    if isinstance(value, dict):
        nested = ("gates", "data", "baseline", "decisions", "talk") if row else ()
        return {k: _brief(v) for k, v in value.items() if k not in _LONG and k not in nested}
    if isinstance(value, list):
        return [_brief(v, row=True) for v in value]
    return value


def cut(text: str) -> list[str]:
    """A comma-separated list."""
    return [x.strip() for x in text.split(",") if x.strip()]
