"""MLflow as the owner of model bytes and metrics: runs, artifacts, registry. Imported by jobs and the worker only.

Only `MlflowClient` is used, never the fluent API: no global state, no pickle flavour.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esml_engine.errors import UsageError
from esml_engine.importing import import_whole
from esml_engine.platforms.base import Files, tracking_error
from esml_engine.refs import attempt_name

if TYPE_CHECKING:
    from esml_engine.runs.context import JobContext

RUN_TAG, ATTEMPT_TAG, STEP_TAG, VERSION_TAG = "esml.run", "esml.attempt", "esml.step", "esml.version"
ARTIFACTS_TAG = "esml.artifacts"
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Logged:
    """One MLflow run: its id and where its files stand (a folder or a URI).

    `lake`: they are kept in the lake, since the tracking server's own place takes them only from a plug-in of its own.
    """

    run_id: str
    artifact_uri: str
    lake: Files | None = None


_MODULES = (
    "mlflow.tracking.client", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store",
)  # fmt: skip
_loading = threading.Lock()


def load_ahead() -> None:
    """Import MLflow in a thread of its own, so that who needs it after a job has not to wait for its seconds.

    Nothing is opened or made. What goes wrong goes wrong again, and is said, where it is needed.
    """

    def load() -> None:
        with _loading, contextlib.suppress(ImportError):
            for name in _MODULES:
                importlib.import_module(name)

    # no daemon: a process that ends amid an import of C++ would abort
    threading.Thread(target=load, name="esml-mlflow").start()


def database(uri: str) -> Path | None:
    """The file behind a `sqlite:///` tracking URI, None for any other."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def prepare(uri: str, cache: str | Path) -> None:
    """Make a SQLite tracking database that does not exist yet, by copying a migrated empty one from `cache`.

    MLflow's own first start takes seconds of migrations; the copy takes milliseconds. The cache holds one file a
    version of MLflow. Safe when several processes do it at once: the first one's file stays. Nothing happens for
    other URIs and for databases that exist.
    """
    target = database(uri)
    if target is None or target.exists():
        return
    template = _template(Path(cache))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".mlflow-") as folder:
        copy = Path(folder) / "new.db"
        shutil.copyfile(template, copy)
        _place(copy, target)


def _template(cache: Path) -> Path:
    template = cache / f"mlflow-{importlib.metadata.version('mlflow-skinny')}.db"
    if template.exists():
        return template
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".mlflow-") as folder:
        fresh, whole = Path(folder) / "fresh.db", Path(folder) / "whole.db"
        import_whole("mlflow")
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        # the default experiment's place is never used: every experiment of ours names its own
        store = SqlAlchemyStore(f"{_SQLITE}{fresh}", "unused")
        store.engine.dispose()
        with closing(sqlite3.connect(fresh)) as source, closing(sqlite3.connect(whole)) as sink:
            source.backup(sink)
        _place(whole, template)
    return template


def _place(new: Path, target: Path) -> None:
    """Give a complete file its name in one atomic act; a file that is already there stays."""
    try:
        os.link(new, target)
    except FileExistsError:
        return


def client(uri: str) -> Any:
    """An `MlflowClient` for tracking and registry at one URI; a service's refusals come as the engine's errors."""
    with _loading:
        from mlflow import MlflowClient

    made = MlflowClient(tracking_uri=uri, registry_uri=uri)
    return _Asking(uri, made) if uri.startswith("http") else made


class _Asking:
    """The client of a service: each call's refusal with what to do, MLflow's own errors (what exists, what does not) as they are."""

    def __init__(self, uri: str, made: Any) -> None:
        self._uri, self._made = uri, made

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._made, name)
        if not callable(found):
            return found
        import_whole("mlflow")
        from mlflow.exceptions import MlflowException

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return found(*args, **kwargs)
            except MlflowException as e:
                made = tracking_error(self._uri, e)
                if made is None:
                    raise
                raise made from e

        return call


def experiment(uri: str, name: str, artifact_root: str | Path | None = None) -> str:
    """The id of the experiment `name`, made when absent.

    Args:
        artifact_root: folder that takes the artifacts, each experiment in a folder of its own; None: for a SQLite
            database `artifacts` beside it, for a server the server's own place. An address in a lake is not told to
            the server: see `logging_run`.
    """
    import_whole("mlflow")
    from mlflow.exceptions import MlflowException

    c = client(uri)
    found = c.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    file = database(uri)
    if artifact_root and "://" in str(artifact_root):
        artifact_root = None
    root = Path(artifact_root) if artifact_root else None if file is None else file.parent / "artifacts"
    try:
        return str(
            c.create_experiment(name, artifact_location=None if root is None else str(root.absolute() / name))
        )
    except MlflowException as e:
        found = c.get_experiment_by_name(name)
        if found is None:
            raise UsageError(f"the experiment '{name}' can't be made: {e.message}") from e
        return str(found.experiment_id)


@contextmanager
def logging_run(
    uri: str,
    experiment_id: str,
    *,
    run: str,
    attempt: int | str,
    step: str,
    tags: Mapping[str, str],
    artifacts: str | None = None,
    lake: Files | None = None,
) -> Iterator[Logged]:
    """An MLflow run for one attempt of one step: finished at the end, failed when the block raises.

    Runs of earlier attempts of the same step are closed as KILLED: only the last attempt counts.

    Args:
        artifacts: where an address in `lake`, the run's files are kept there, and its tag `esml.artifacts` names the place.
    """
    c = client(uri)
    close_attempts(uri, experiment_id, run=run, step=step, attempt=attempt)
    mine = {RUN_TAG: run, ATTEMPT_TAG: str(attempt), STEP_TAG: step}
    kept = f"{artifacts}/{run}-{attempt}" if artifacts and "://" in artifacts else ""
    if kept:
        mine[ARTIFACTS_TAG] = kept
    made = c.create_run(experiment_id, tags={**{k: str(v) for k, v in tags.items()}, **mine}, run_name=run)
    try:
        yield Logged(made.info.run_id, kept or made.info.artifact_uri, lake if kept else None)
    except BaseException:
        c.set_terminated(made.info.run_id, "FAILED")
        raise
    c.set_terminated(made.info.run_id, "FINISHED")


def logging_job(job: JobContext) -> AbstractContextManager[Logged]:
    """`logging_run` for a job's own step, by its parameters `experiment`, `tags`, `artifacts` and `cache` (see `prepare`)."""
    p, uri = job.params, job.spec.tracking
    prepare(uri, p.get("cache") or job.work / "cache")
    return logging_run(
        uri,
        experiment(uri, p["experiment"], p.get("artifacts")),
        run=job.spec.run,
        attempt=attempt_name(job.spec.attempt, job.spec.retry),
        step=job.spec.step,
        tags=p.get("tags") or {},
        artifacts=p.get("artifacts"),
        lake=job.files,
    )


def close_attempts(uri: str, experiment_id: str, *, run: str, step: str, attempt: int | str) -> None:
    """Close the MLflow runs of a step's attempts up to this one as KILLED, also those of before a retry.

    One that failed for its own reason stays so; one of a later attempt too: a job may begin after the one that replaced it.
    """
    c = client(uri)
    wanted = f"tags.`{RUN_TAG}` = '{run}' and tags.`{STEP_TAG}` = '{step}'"
    for old in c.search_runs([experiment_id], wanted):
        later = _place_of(old.data.tags.get(ATTEMPT_TAG, "")) > _place_of(str(attempt))
        if not later and old.info.status not in ("KILLED", "FAILED"):
            c.set_terminated(old.info.run_id, "KILLED")


def _place_of(attempt: str) -> tuple[int, int]:
    """(beginning, attempt) of an attempt's name: `2.1` is (2, 1), `3` is (1, 3)."""
    beginning, _, number = attempt.rpartition(".")
    return int(beginning or 1), int(number or 0)


def close_left(uri: str, name: str, run: str) -> None:
    """Close what a run's killed jobs left open in the experiment `name`, where there is one."""
    file = database(uri)
    if file is not None and not file.exists():
        return
    c = client(uri)
    found = c.get_experiment_by_name(name)
    if found is None:
        return
    wanted = f"tags.`{RUN_TAG}` = '{run}' and attributes.status = 'RUNNING'"
    for left in c.search_runs([str(found.experiment_id)], wanted):
        c.set_terminated(left.info.run_id, "KILLED")


def log(uri: str, run_id: str, *, params: Mapping[str, Any], metrics: Mapping[str, float | None]) -> None:
    """Log parameters and those metrics that are defined, in one batch."""
    import_whole("mlflow")
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    client(uri).log_batch(
        run_id,
        metrics=[Metric(k, float(v), now, 0) for k, v in metrics.items() if v is not None],
        params=[Param(k, str(v)[:6000]) for k, v in params.items()],
    )


def log_folder(uri: str, logged: Logged, folder: str | Path, name: str) -> None:
    """Copy a folder's files into the run's files under `name`."""
    if logged.lake is None:
        client(uri).log_artifacts(logged.run_id, str(folder), name)
        return
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        logged.lake.put_file(path, f"{logged.artifact_uri}/{name}/{path.relative_to(folder).as_posix()}")


def log_json(uri: str, logged: Logged, document: Any, name: str) -> None:
    """Keep a JSON document with the run."""
    if logged.lake is None:
        client(uri).log_dict(logged.run_id, document, name)
        return
    logged.lake.write_file(f"{logged.artifact_uri}/{name}", json.dumps(document, indent=1).encode())


def register(uri: str, name: str, mlflow_run: str, source: str, tags: Mapping[str, str]) -> int:
    """The registry's version of what run `tags["esml.run"]` made: looked up first, made when absent.

    Repeating it after a crash makes no second version. The registered model is made when absent.

    Args:
        name: the registered model.
        mlflow_run: id of the MLflow run.
        source: where the model's folder stands.
        tags: put on the version; must hold `esml.run`.

    Raises:
        UsageError: `esml.run` is missing in tags.
    """
    import_whole("mlflow")
    from mlflow.exceptions import MlflowException

    if not tags.get(RUN_TAG):
        raise UsageError(f"a version is registered under the tag {RUN_TAG}, which is missing")
    c = client(uri)
    # the store's tag filter differs between backends; versions of one model are few
    for version in c.search_model_versions(f"name = '{name}'"):
        if version.tags.get(RUN_TAG) == tags[RUN_TAG]:
            return int(version.version)
    try:
        c.create_registered_model(name)
    except MlflowException as e:
        if e.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = c.create_model_version(name, source, run_id=mlflow_run, tags={k: str(v) for k, v in tags.items()})
    return int(made.version)


def highest(uri: str, name: str) -> int:
    """The highest number of ours that a registered model's versions carry (the tag `esml.version`); 0 where there is none."""
    numbers = [v.tags.get(VERSION_TAG, "") for v in client(uri).search_model_versions(f"name = '{name}'")]
    return max((int(n) for n in numbers if n.isdigit()), default=0)


def set_alias(uri: str, name: str, alias: str, version: int) -> None:
    """Point an alias at a version: one upsert, the alias is never absent in between."""
    client(uri).set_registered_model_alias(name, alias, str(version))


def drop_alias(uri: str, name: str, alias: str) -> None:
    """Take an alias away, where it is there."""
    if get_alias(uri, name, alias) is not None:
        client(uri).delete_registered_model_alias(name, alias)


def get_alias(uri: str, name: str, alias: str) -> int | None:
    """The version that an alias points at, None when there is none."""
    import_whole("mlflow")
    from mlflow.exceptions import MlflowException

    try:
        return int(client(uri).get_model_version_by_alias(name, alias).version)
    except MlflowException as e:
        if e.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
