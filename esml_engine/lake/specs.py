"""Job specifications: from a desk and what a step needs to the data that a job is."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from esml_engine.door.facts import Desk
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
    work = platform.work_folder(desk.run, desk.step, desk.attempt)
    folders = {k: table_uri(desk.site, ref, env, name) for k, name in outputs.items()}
    return JobSpec(
        run=desk.run, step=desk.step, attempt=desk.attempt, kind=kind, env=env, project=ref.project, model=ref.model, params=params, work=work, inputs=inputs, outputs=folders,
        storage=platform.storage_options(), tracking=platform.tracking_uri(), max_seconds=desk.site.settings.estate.worker.max_step_seconds,
    )  # fmt: skip


def step_file(root: Path, ref: ModelRef, name: str) -> Path | None:
    """The user's step (`<name>.py` or `<name>.sql`), or None for the default."""
    for ext in ("py", "sql"):
        path = root / "projects" / ref.project / ref.model / "steps" / f"{name}.{ext}"
        if path.is_file():
            return path
    return None


def code_hash(path: Path | None, default: str) -> str:
    """Hash of a step's code: the file's bytes, or the default step's own version."""
    return hashlib.sha256(path.read_bytes() if path else default.encode()).hexdigest()[:16]


def archive(desk: Desk, path: Path | None) -> dict[str, str] | None:
    """The step as the job gets it: a copy under its content's hash, so that editing the file touches no running job."""
    if path is None:
        return None
    folder = desk.site.state / "code" / code_hash(path, "")
    target = folder / path.name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        new = target.with_suffix(f".{desk.run}.tmp")
        shutil.copyfile(path, new)
        new.replace(target)
    return {"path": str(target), "kind": path.suffix[1:]}
