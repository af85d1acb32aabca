"""Make table versions: the one place that commits to a table.

Protocol (each step may be the last before a crash): 1 the job's specification fixed the version N that it builds on ·
2 the job wrote files · 3 counts and expectations are checked · 4 the table is opened afresh: moved to N+1 by this
very step: adopted; by another: stale · 5 commit of the file list with application transaction N+1 and all facts in the
metadata, siblings first and the head last · 6 the caller's one store transaction · 7 replay finds what 6 missed.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from typing import Any

from esml_engine.clock import now
from esml_engine.door.facts import Desk
from esml_engine.errors import ConflictError, EsmlError, FailedError
from esml_engine.faults import point
from esml_engine.lake.catalogue import Version, latest, sizes_of, table_uri
from esml_engine.lake.files import schema_of
from esml_engine.lake.log import commit_of, open_table
from esml_engine.platforms.base import Files
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import TableOut

APP = "esml"
_CONFIG = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}


def expected_versions(desk: Desk, ref: ModelRef, env: str, names: list[str]) -> dict[str, int]:
    """The engine's version of each table now; goes into the specification as what the job builds on."""
    found = {n: latest(desk.site.store, ref, env, n) for n in names}
    return {n: v.version if v else 0 for n, v in found.items()}


def make_versions(
    desk: Desk, ref: ModelRef, env: str, outs: list[TableOut], *, expected: dict[str, int], inputs: list[dict[str, Any]],
    code: str = "", rnd: bool = False, facts: dict[str, Any] | None = None,
    partition_by: tuple[str, ...] = (),
) -> list[Version]:  # fmt: skip
    """Commit tables that belong together, siblings first, the last one is the head; returns their versions.

    Raises:
        ConflictError: a table moved under the job.
    """
    made: list[Version] = []
    siblings: dict[str, int] = {}
    for i, out in enumerate(outs):
        head = i == len(outs) - 1
        _check_counts(out)
        draft = Version(
            str(ref), env, out.table, expected[out.table] + 1, -1, out.rows, 0, now(), desk.run, desk.step, desk.actor.rights,
            tuple(inputs), code, out.schema, out.quality,
            {**out.facts, **(facts or {})}, None, "engine", siblings if head else {}, rnd,
        )  # fmt: skip
        version = _commit_one(desk, ref, env, out, draft, head=head, partition_by=partition_by)
        siblings[out.table] = version.version
        made.append(version)
        point("commit:head" if head else "commit:sibling")
    return made


def _check_counts(out: TableOut) -> None:
    for f in out.add:
        said = json.loads(f.stats)["numRecords"]
        if said != f.rows:
            raise FailedError(
                f"{out.table}: {f.path} holds {said} rows, the job said {f.rows}", hint="retry the run"
            )


def _commit_one(
    desk: Desk,
    ref: ModelRef,
    env: str,
    out: TableOut,
    draft: Version,
    *,
    head: bool,
    partition_by: tuple[str, ...],
) -> Version:
    from deltalake import CommitProperties, TableFeatures, Transaction
    from deltalake import Schema as DeltaSchema
    from deltalake.exceptions import CommitFailedError
    from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

    storage = desk.site.platform(env).storage_options()
    uri = table_uri(desk.site, ref, env, out.table)
    millis = int(time.time() * 1000)
    handle = open_table(uri, storage)
    here = (handle.transaction_version(APP) or 0) if handle else 0
    base = draft.version - 1
    orphan = False
    if handle is not None and here != base:
        found = read_commit(desk.site.platform(env), uri, handle.version())
        if here == draft.version and found and found.run == desk.run and found.step == desk.step:
            return found  # committed before the crash
        if head or here != draft.version:
            raise ConflictError(
                f"{out.table} of {ref} is at version {here}, this run was built on {base}",
                hint="plan and start again",
            )
        orphan = True  # a sibling whose head never came: replaced under the same number
    kept = (
        sizes_of(uri, _delta_version(desk, ref, env, out.table), storage)
        if base and not out.remove_all
        else {}
    )
    gone = set(out.remove)
    goal = [f for f in kept if f not in gone]
    total = sum(f.bytes for f in out.add) + sum(kept[f] for f in goal)
    draft = replace(draft, bytes=total, delta_version=(handle.version() + 1) if handle else 0)
    properties = CommitProperties(
        custom_metadata={APP: json.dumps(asdict(draft), sort_keys=True)},
        app_transactions=[Transaction(APP, draft.version)],
        max_commit_retries=0,
    )
    adds = [AddAction(f.path, f.bytes, f.partition, millis, True, f.stats) for f in out.add]
    arrow_schema = schema_of(out.schema)
    schema = DeltaSchema.from_arrow(arrow_schema)
    point("commit:before")
    if handle is None:
        create_table_with_add_actions(
            uri,
            schema,
            adds,
            mode="error",
            partition_by=list(partition_by),
            configuration=_CONFIG,
            commit_properties=properties,
            storage_options=storage or None,
        )
        return draft
    current = [u.removeprefix("file://").split(uri.rstrip("/") + "/", 1)[-1] for u in handle.file_uris()]
    have = {f.name: f.type for f in handle.schema().fields}
    retyped = any(f.name in have and have[f.name] != f.type for f in schema.fields)
    fresh = [f for f in schema.fields if f.name not in have]
    if retyped and goal and _rows(desk, ref, env, out.table) == 0:
        goal = []  # files without rows fixed no types: they may go
    rewrite = not goal and (retyped or bool(fresh)) and not orphan
    # commits without a number: housekeeping that this version needs
    plain_times = any("timestamp_ntz" in str(f.type) for f in schema.fields)
    if plain_times and "timestampNtz" not in (handle.protocol().writer_features or ()):
        handle.alter.add_feature(
            TableFeatures.TimestampWithoutTimezone, allow_protocol_versions_increase=True
        )
    if fresh and not rewrite:
        handle.alter.add_columns(fresh)
    if handle.version() + 1 != draft.delta_version:
        draft = replace(draft, delta_version=handle.version() + 1)
        properties = CommitProperties(
            custom_metadata={APP: json.dumps(asdict(draft), sort_keys=True)},
            app_transactions=[Transaction(APP, draft.version)],
            max_commit_retries=0,
        )
    removes = [] if rewrite else [RemoveAction(f, True, millis) for f in current if f not in goal]
    try:
        handle.create_write_transaction(
            [*adds, *removes],
            mode="overwrite" if rewrite else "append",
            schema=schema if rewrite else handle.schema(),
            partition_by=list(partition_by),
            commit_properties=properties,
        )
    except CommitFailedError as e:
        raise ConflictError(
            f"{out.table} of {ref} was changed by somebody else meanwhile", hint="plan and start again"
        ) from e
    return draft


def _delta_version(desk: Desk, ref: ModelRef, env: str, name: str) -> int:
    found = latest(desk.site.store, ref, env, name)
    if found is None:
        raise EsmlError(f"the catalogue does not know {name}", hint="esml catalogue rebuild")
    return found.delta_version


def _rows(desk: Desk, ref: ModelRef, env: str, name: str) -> int:
    found = latest(desk.site.store, ref, env, name)
    return found.rows if found else 0


def read_commit(files: Files, uri: str, newest: int) -> Version | None:
    """The newest numbered commit of a table, among its last five."""
    for number in range(newest, max(-1, newest - 5), -1):
        entry = commit_of(files, uri, number)
        if entry and APP in entry:
            return commit_version(entry)
    return None


def commit_version(entry: dict[str, Any]) -> Version:
    """A version from one history entry; the table's own number of the commit wins over what was foreseen."""
    raw = json.loads(entry[APP])
    fields = {
        **raw,
        "inputs": tuple(raw["inputs"]),
        "quality": tuple(raw["quality"]),
        "delta_version": entry["version"],
    }
    return Version(**fields)
