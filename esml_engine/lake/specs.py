"""Job specifications: from a desk and what a step needs to the data that a job is."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from esml_engine.door.facts import Desk
from esml_engine.door.site import Site
from esml_engine.errors import SettingsError
from esml_engine.lake.catalogue import table_uri
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobSpec, TableIn


def job_spec(
    desk: Desk,
    ref: ModelRef,
    env: str,
    kind: str,
    *,
    inputs: dict[str, TableIn],
    outputs: dict[str, str],
    params: dict[str, Any],
) -> JobSpec:
    """The specification of `desk.step`. `outputs` maps the step's own name of a table to the table's contract name."""
    platform = desk.site.platform(env)
    work = platform.work_folder(desk.run, desk.step, desk.attempt, desk.retry)
    folders = {k: table_uri(desk.site, ref, env, name) for k, name in outputs.items()}
    inputs = {k: table_within_reach(desk.site, env, table) for k, table in inputs.items()}
    return JobSpec(
        run=desk.run, step=desk.step, attempt=desk.attempt, retry=desk.retry, kind=kind, env=env, project=ref.project, model=ref.model,
        params=params, work=work, inputs=inputs, outputs=folders,
        tracking=platform.tracking_uri(), max_seconds=desk.site.settings.estate.worker.max_step_seconds,
    )  # fmt: skip


def table_within_reach(site: Site, env: str, table: TableIn) -> TableIn:
    """A table where jobs of `env` read it: they reach their own lake alone, so another environment's files are brought."""
    there = owner(site, table.uri)
    if not table.files or there in ("", env):
        return table
    near = site.platform(there).here(table.uri, table.files)
    key = hashlib.sha256(table.uri.encode()).hexdigest()[:32]
    return replace(table, uri=site.platform(env).bring(near, key, table.files))


def owner(site: Site, address: str) -> str:
    """The environment in whose lake an address lies; '' for none."""
    found = (e for e in site.settings.environments if address.startswith(f"{site.platform(e).lake_root()}/"))
    return next(found, "")


def model_within_reach(site: Site, env: str, there: str, folder: str, sha256: str) -> str:
    """The folder of a model of environment `there` where jobs of `env` read it."""
    address = site.outside(folder)
    if there == env:
        return address
    return site.platform(env).bring(site.platform(there).here(address), sha256)


def step_file(root: Path, ref: ModelRef, name: str) -> Path | None:
    """The user's step (`<name>.py` or `<name>.sql`), or None for the default.

    Raises:
        SettingsError: both are there, and one would be left out.
    """
    folder = root / "projects" / ref.project / ref.model / "steps"
    there = [path for ext in ("py", "sql") if (path := folder / f"{name}.{ext}").is_file()]
    if len(there) > 1:
        raise SettingsError(
            f"{ref} has both steps/{name}.py and steps/{name}.sql",
            hint="keep one of them: a step is one file",
        )
    return there[0] if there else None


def code_hash(path: Path | None, default: str) -> str:
    """Hash of a step's code: the file's bytes, or the default step's own version."""
    return hashlib.sha256(path.read_bytes() if path else default.encode()).hexdigest()[:16]


def archive(desk: Desk, env: str, path: Path | None) -> dict[str, str] | None:
    """The step as the job gets it: a copy in the lake under its content's hash, so that editing the file touches no running job."""
    if path is None:
        return None
    platform, target = desk.site.platform(env), f"code/{code_hash(path, '')}/{path.name}"
    platform.create_file(target, path.read_bytes())
    return {"path": f"{platform.lake_root()}/{target}", "kind": path.suffix[1:]}
