"""The command's boundary: errors become the contract's document and exit code."""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from pathlib import Path

import typer

from esml_engine.cli.face import app, state
from esml_engine.errors import EsmlError, UsageError, disk_full


def _keep_only(words: list[str]) -> None:
    """Leave out commands that the line does not name: building all of them takes longer than running one."""
    if "--help" in words:
        return
    commands = [c for c in app.registered_commands if c.callback and (c.name or c.callback.__name__) in words]
    groups = [g for g in app.registered_groups if g.name in words]
    if commands or groups:
        app.registered_commands, app.registered_groups = commands, groups


def _disks() -> list[Path]:
    """Where the estate of this command may be writing."""
    from esml_engine.door.site import disks_of

    return disks_of(Path(state.estate or os.environ.get("ESML_ESTATE") or "estate"))


_CTRL_C = 130  # what typer makes of an interrupt


def main() -> None:
    """Entry point: errors become the contract's document and exit code."""
    try:
        _run()
    finally:
        gc.freeze()  # the process ends: looking through all that it loaded once more takes most of a second


def _run() -> None:
    _keep_only(sys.argv[1:])
    try:
        code = app(standalone_mode=False)
    except EsmlError as e:
        sys.exit(_fail(e))
    except KeyboardInterrupt:
        sys.exit(_interrupted())
    except Exception as e:  # noqa: BLE001 - the boundary of the process
        if type(e).__module__.startswith(("click", "typer")) and hasattr(e, "format_message"):
            option = getattr(e, "option_name", "")
            before = option in ("--estate", "--json", "--as")
            hint = f"{option} goes before the command: esml {option} …" if before else "see --help"
            error = UsageError(e.format_message(), hint=hint)
            sys.exit(_fail(error))
        full = disk_full(e, folders=_disks())
        if full is not None:
            sys.exit(_fail(full))
        unforeseen = EsmlError(
            f"{type(e).__name__}: {e}", hint="report this with its id and the trace on standard error"
        )
        traceback.print_exc()
        sys.exit(_fail(unforeseen))
    if code == _CTRL_C:
        sys.exit(_interrupted())
    sys.exit(code if isinstance(code, int) else 0)


def _interrupted() -> int:
    was_the_worker = "esml_engine.worker" in sys.modules  # loaded when a command works for itself
    hint = (
        "no worker is up: what it left open is finished by the next command that works, or by esml up; esml runs shows it"
        if was_the_worker
        else "a run that was handed over goes on in the worker: esml runs"
    )
    error = EsmlError("interrupted", hint=hint)
    error.code = "interrupted"
    return _fail(error)


def _fail(error: EsmlError, code: int | None = None) -> int:
    if state.json or "--json" in sys.argv:
        typer.echo(json.dumps(error.document(), default=str))
    else:
        typer.echo(
            f"{error.message}\n{'→ ' + error.hint if error.hint else ''} [{error.code}, {error.id}]", err=True
        )
    return error.exit_code if code is None else code
