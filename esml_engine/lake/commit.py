"""Make table versions: the one place that commits to a table.

Protocol (each step may be the last before a crash): 1 the job's specification fixed the version N that it builds on and
the number M that it gives (`numbers`: N+1, or more where versions were forgotten) · 2 the job wrote files · 3 counts and expectations
are checked · 4 the table is opened afresh: moved to M by this very step: adopted; by another: stale · 5 commit of the file
list with application transaction M and all facts in the metadata, siblings first and the head last · 6 the caller's one
store transaction · 7 replay finds what 6 missed.
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
from esml_engine.importing import import_whole
from esml_engine.lake.catalogue import Version, latest, require_same, sizes_of, table_uri
from esml_engine.lake.files import describe, schema_of
from esml_engine.lake.log import APP, commit_of, open_table, talking
from esml_engine.lake.numbers import Numbers, number_in
from esml_engine.platforms.base import Files, Platform
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import FileOut, TableOut

_CONFIG = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}


def make_versions(
    desk: Desk, ref: ModelRef, env: str, outs: list[TableOut], *, numbers: dict[str, Numbers], inputs: list[dict[str, Any]],
    code: str = "", rnd: bool = False, facts: dict[str, Any] | None = None,
    partition_by: tuple[str, ...] = (),
) -> list[Version]:  # fmt: skip
    """Commit tables that belong together, siblings first, the last one is the head; returns their versions.

    Raises:
        ConflictError: a table moved under the job. NotFoundError: its folder went.
    """
    made: list[Version] = []
    siblings: dict[str, int] = {}
    for i, out in enumerate(outs):
        head = i == len(outs) - 1
        _check_counts(out)
        draft = Version(
            str(ref), env, out.table, numbers[out.table]["next"], -1, out.rows, 0, now(), desk.run, desk.step, desk.actor.rights,
            tuple(inputs), code, out.schema, out.quality,
            {**out.facts, **(facts or {})}, None, "engine", siblings if head else {}, rnd,
        )  # fmt: skip
        version = _commit_one(
            desk, ref, env, out, draft, numbers[out.table], head=head, partition_by=partition_by
        )
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
    numbers: Numbers,
    *,
    head: bool,
    partition_by: tuple[str, ...],
) -> Version:
    """Steps 4 and 5 of the protocol for one table."""
    import_whole("deltalake")
    from deltalake.transaction import AddAction

    platform = desk.site.platform(env)
    uri, storage = table_uri(desk.site, ref, env, out.table), platform.storage_options()
    handle = open_table(uri, storage)
    done, orphan = _standing(desk, ref, out, draft, numbers, handle, platform, uri, head=head)
    if done is not None:
        return done
    sizes = (
        sizes_of(uri, _delta_version(desk, ref, env, out.table), storage)
        if numbers["on"] and handle is not None and not out.remove_all
        else {}
    )
    goal = set(sizes) - set(out.remove)
    total = sum(f.bytes for f in out.add) + sum(sizes[f] for f in goal)
    draft = replace(draft, bytes=total, delta_version=(handle.version() + 1) if handle else 0)
    millis = int(time.time() * 1000)
    back = _taken_out(platform, uri, handle, goal) if orphan else ()
    adds = [AddAction(f.path, f.bytes, f.partition, millis, True, f.stats) for f in (*out.add, *back)]
    point("commit:before")
    moved = f"{out.table} of {ref} was changed by somebody else meanwhile"
    if handle is not None:
        if goal and _retyped(handle, out):
            if _rows(desk, ref, env, out.table):
                raise FailedError(
                    f"{out.table} of {ref} would keep files of other types than its schema says",
                    hint="report it: nothing was changed",
                )
            goal = set()  # files without rows fixed no types: they may go
        handle, rewrite = _readied(handle, uri, storage, out, moved, whole=not goal and not orphan)
        draft = replace(draft, delta_version=handle.version() + 1)  # making ready may have taken numbers
    try:
        with talking(uri, moved):
            if handle is None:
                _create(uri, storage, out, draft, adds, partition_by)
            else:
                _append(
                    handle, uri, out, draft, adds, goal, millis, rewrite=rewrite, partition_by=partition_by
                )
    except (FailedError, OSError):
        if not _carried_out(platform, uri, draft):
            raise
    return draft


def _carried_out(files: Files, uri: str, draft: Version) -> bool:
    """Whether the lake has this very commit: it was carried out, and only its answer was lost."""
    try:
        entry = commit_of(files, uri, draft.delta_version)
    except (EsmlError, OSError):  # not known: the commit's own error is raised, and a retry looks again
        return False
    return entry is not None and entry.get(APP) == _facts(draft)


def _readied(
    handle: Any, uri: str, storage: dict[str, str], out: TableOut, moved: str, *, whole: bool
) -> tuple[Any, bool]:
    """`_make_ready`; begun once more on the table as it is now where a number was taken and no version was made meanwhile.

    That is what a commit without a number looks like whose answer was lost.
    """
    before = handle.transaction_version(APP)
    try:
        with talking(uri, moved):
            return handle, _make_ready(handle, out, whole=whole)
    except ConflictError:
        again = open_table(uri, storage)
        if again is None or again.transaction_version(APP) != before:
            raise
    with talking(uri, moved):
        return again, _make_ready(again, out, whole=whole)


def _standing(
    desk: Desk,
    ref: ModelRef,
    out: TableOut,
    draft: Version,
    numbers: Numbers,
    handle: Any,
    platform: Platform,
    uri: str,
    *,
    head: bool,
) -> tuple[Version | None, bool]:
    """The version that this very step committed before a crash, if it did; and whether a sibling without a head stands there.

    Raises:
        ConflictError: the table moved under the job.
    """
    here, base = number_in(uri, handle, numbers["on"]), numbers["on"]
    if handle is None or here == base:
        return None, False
    found = read_commit(platform, uri, handle.version())
    if here == draft.version and found and found.run == desk.run and found.step == desk.step:
        return found, False
    if head or here != numbers["stands"]:
        raise ConflictError(
            f"{out.table} of {ref} is at version {here}, this run was built on {base}",
            hint="plan and start again",
        )
    return None, True  # it stood there when the run was planned, and no head names it: replaced


def _taken_out(platform: Platform, uri: str, handle: Any, goal: set[str]) -> list[FileOut]:
    """Files that are to stay and that a sibling without a head took out of the table; they come in again."""
    names = sorted(goal - set(_file_names(uri, handle)))
    here = platform.here(uri, names) if names else ""
    return [describe(here, name) for name in names]


def _facts(draft: Version) -> str:
    """All facts of a version, as its commit keeps them."""
    return json.dumps(asdict(draft), sort_keys=True)


def properties_of(draft: Version) -> Any:
    """All facts of a version as the commit's metadata, with its number as the application's transaction."""
    from deltalake import CommitProperties, Transaction

    return CommitProperties(
        custom_metadata={APP: _facts(draft)},
        app_transactions=[Transaction(APP, draft.version)],
        max_commit_retries=0,
    )


def _fields(out: TableOut) -> Any:
    from deltalake import Schema

    from esml_engine.lake.holding import require_held

    schema = schema_of(out.schema)
    require_held(schema)
    return Schema.from_arrow(schema)


def _create(
    uri: str,
    storage: dict[str, str],
    out: TableOut,
    draft: Version,
    adds: list[Any],
    partition_by: tuple[str, ...],
) -> None:
    import_whole("deltalake")
    from deltalake.transaction import create_table_with_add_actions

    create_table_with_add_actions(
        uri,
        _fields(out),
        adds,
        mode="error",
        partition_by=list(partition_by),
        configuration=_CONFIG,
        commit_properties=properties_of(draft),
        storage_options=storage or None,
    )


def _retyped(handle: Any, out: TableOut) -> bool:
    """Whether a column of the table has another type now."""
    have = {f.name: f.type for f in handle.schema().fields}
    return any(f.name in have and have[f.name] != f.type for f in _fields(out).fields)


def _make_ready(handle: Any, out: TableOut, *, whole: bool) -> bool:
    """What the version needs of the table first, as commits without a number; True where its commit replaces the schema.

    `whole`: no file of the version before stays, so that columns may have other types.
    """
    from deltalake import TableFeatures

    have = {f.name for f in handle.schema().fields}
    fields = _fields(out).fields
    fresh = [f for f in fields if f.name not in have]
    rewrite = whole and (bool(fresh) or _retyped(handle, out))
    plain_times = any("timestamp_ntz" in str(f.type) for f in fields)
    if plain_times and "timestampNtz" not in (handle.protocol().writer_features or ()):
        handle.alter.add_feature(
            TableFeatures.TimestampWithoutTimezone, allow_protocol_versions_increase=True
        )
    if fresh and not rewrite:
        handle.alter.add_columns(fresh)
    return rewrite


def _append(
    handle: Any, uri: str, out: TableOut, draft: Version, adds: list[Any], goal: set[str], millis: int, *, rewrite: bool,
    partition_by: tuple[str, ...],
) -> None:  # fmt: skip
    """Commit what comes and what goes: of the files that stand there, those of `goal` stay."""
    import_whole("deltalake")
    from deltalake.transaction import RemoveAction

    current = _file_names(uri, handle)
    removes = [] if rewrite else [RemoveAction(f, True, millis) for f in current if f not in goal]
    handle.create_write_transaction(
        [*adds, *removes],
        mode="overwrite" if rewrite else "append",
        schema=_fields(out) if rewrite else handle.schema(),
        partition_by=list(partition_by),
        commit_properties=properties_of(draft),
    )


def _file_names(uri: str, handle: Any) -> list[str]:
    return [u.removeprefix("file://").split(uri.rstrip("/") + "/", 1)[-1] for u in handle.file_uris()]


def _delta_version(desk: Desk, ref: ModelRef, env: str, name: str) -> int:
    found = latest(desk.site.store, ref, env, name)
    if found is None:
        raise EsmlError(f"the catalogue does not know {name}", hint="esml catalogue rebuild")
    require_same(desk.site, found)
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
