"""The catalogue: which versions each table has. A projection of the lakes, kept so that no page walks over a lake."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from esml_engine.door.site import Site
from esml_engine.errors import ConflictError, FailedError, NotFoundError
from esml_engine.importing import import_whole
from esml_engine.lake.log import APP, commit_of, open_table, talking
from esml_engine.refs import ModelRef, TableName, model_folder
from esml_engine.runs.facts import TableIn
from esml_engine.store import schema as t
from esml_engine.store.database import Store, upsert


@dataclass(frozen=True)
class Version:
    """One version of one table, as the commit's metadata says."""

    object: str
    env: str
    name: str
    version: int
    delta_version: int
    rows: int
    bytes: int
    at: str
    run: str | None
    step: str | None
    by: str | None
    inputs: tuple[dict[str, Any], ...]
    code: str
    schema: str
    quality: tuple[dict[str, Any], ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    note: str | None = None
    origin: str = "engine"
    siblings: dict[str, int] = field(default_factory=dict)
    rnd: bool = False


def version_of(row: dict[str, Any]) -> Version:
    """From a store row or a commit's metadata."""
    keep = {k: row[k] for k in Version.__dataclass_fields__ if k in row}
    return Version(
        **{
            **keep,
            "inputs": tuple(row["inputs"] or ()),
            "quality": tuple(row["quality"] or ()),
            "facts": row["facts"] or {},
            "siblings": row["siblings"] or {},
        }
    )


def put(c: sa.Connection, v: Version) -> None:
    """Note a version; saying it twice is harmless. An R&D version takes the place of the one before it."""
    if v.rnd:
        t_ = t.versions.c
        c.execute(
            t.versions.delete().where(
                t_.object == v.object, t_.env == v.env, t_.name == v.name, t_.rnd, t_.version < v.version
            )
        )
    row = {k: getattr(v, k) for k in Version.__dataclass_fields__}
    upsert(c, t.versions, {**row, "inputs": list(v.inputs), "quality": list(v.quality)})


def latest(store: Store, ref: ModelRef, env: str, name: str) -> Version | None:
    """The current version of a table."""
    v = t.versions
    row = store.first(
        v.select()
        .where(v.c.object == str(ref), v.c.env == env, v.c.name == name)
        .order_by(v.c.version.desc())
        .limit(1)
    )
    return version_of(row) if row else None


def has(store: Store, ref: ModelRef, env: str, name: str, version: int) -> bool:
    """Whether that version is recorded: what names one that was forgotten has to begin anew."""
    v = t.versions.c
    mine = (v.object == str(ref), v.env == env, v.name == name, v.version == version)
    return store.first(sa.select(v.version).where(*mine)) is not None


def next_numbers(store: Store, ref: ModelRef, env: str, names: Iterable[str]) -> dict[str, int]:
    """The number of each table's next version: one more than any that it ever had here.

    Forgotten ones are among them, and those that other tables of the model name, where a store was lost.
    """
    out = dict.fromkeys(names, 1)
    v = t.versions.c
    # whoever scored names to_score alone, and scores more often than all else
    besides = () if "to_score" in out else (v.name != "scored",)
    if set(out) != {"scored"}:
        naming = sa.select(v.inputs, v.siblings).where(v.object == str(ref), v.env == env, *besides)
        for r in store.rows(naming):
            for name, number in _named(r["inputs"] or (), r["siblings"] or {}):
                if name in out:
                    out[name] = max(out[name], number + 1)
    for table in (t.versions, t.forgotten):
        mine = sa.select(table.c.name, sa.func.max(table.c.version).label("n")).where(
            table.c.object == str(ref), table.c.env == env, table.c.name.in_(list(out))
        )
        for r in store.rows(mine.group_by(table.c.name)):
            out[r["name"]] = max(out[r["name"]], int(r["n"]) + 1)
    return out


def named_by(version: Version) -> list[tuple[str, int]]:
    """(table, version) that a version was made from or beside."""
    return _named(version.inputs, version.siblings)


def _named(inputs: Iterable[dict[str, Any]], siblings: dict[str, int]) -> list[tuple[str, int]]:
    made_from = [(str(i["table"]), int(i.get("version") or 0)) for i in inputs if i.get("table")]
    return [*made_from, *siblings.items()]


def all_latest(store: Store, ref: ModelRef, env: str) -> dict[str, Version]:
    """The current version of every table of a model."""
    v = t.versions
    top = (
        sa.select(v.c.name, sa.func.max(v.c.version).label("version"))
        .where(v.c.object == str(ref), v.c.env == env)
        .group_by(v.c.name)
        .subquery()
    )
    q = (
        v.select()
        .join(top, sa.and_(v.c.name == top.c.name, v.c.version == top.c.version))
        .where(v.c.object == str(ref), v.c.env == env)
    )
    return {r["name"]: version_of(r) for r in store.rows(q)}


def get(store: Store, ref: ModelRef, env: str, name: str, version: int | None = None) -> Version:
    """One version.

    Raises:
        NotFoundError: with the versions that there are.
    """
    v = t.versions
    if version is None:
        found = latest(store, ref, env, name)
        if found is None:
            raise NotFoundError(
                f"{ref} has no table {name} in {env} yet", hint=f"make it: {_maker(ref, env, name)}"
            )
        return found
    row = store.first(
        v.select().where(v.c.object == str(ref), v.c.env == env, v.c.name == name, v.c.version == version)
    )
    if row is None:
        there = [x.version for x in listing(store, ref, env, name)]
        have = f"it has {', '.join(map(str, there[:10]))}" if there else "it has none yet"
        if there and version < there[0]:
            have += "; in R&D mode only the newest is kept"
        raise NotFoundError(f"{name} of {ref} in {env} has no version {version}", hint=have)
    return version_of(row)


def _maker(ref: ModelRef, env: str, name: str) -> str:
    """The command that makes a table."""
    act = {"gold_train": "split", "gold_validate": "split", "gold_test": "split", "scored": "score"}.get(
        name, "refine"
    )
    purpose = " --purpose inference" if name == "to_score" else ""
    return f"esml {act} {ref}{' --batch' if act == 'score' else ''} --env {env}{purpose}"


def listing(store: Store, ref: ModelRef, env: str, name: str) -> list[Version]:
    """All versions of a table, newest first."""
    v = t.versions
    rows = store.rows(
        v.select()
        .where(v.c.object == str(ref), v.c.env == env, v.c.name == name)
        .order_by(v.c.version.desc())
    )
    return [version_of(r) for r in rows]


def quarantine_of(store: Store, ref: ModelRef, env: str, name: str, bronze: Version) -> Version | None:
    """The version of the quarantine `name` that stood when this bronze was made; None: nothing had been rejected.

    A refinement that rejects nothing new makes none, so one may stand beside several versions of bronze.
    """
    return next((v for v in listing(store, ref, env, name) if v.at <= bronze.at), None)


def passed(quality: Iterable[dict[str, Any]]) -> bool:
    """Whether no expectation failed that is more than a warning."""
    return all(q["passed"] or q["level"] == "warn" for q in quality)


def judged_versions(
    store: Store, ref: ModelRef, env: str, name: str
) -> dict[tuple[str, int], tuple[bool, bool]]:
    """(table, version) -> (the expectations of `name` passed, it comes from R&D mode), of all tables in one query."""
    v = t.versions
    quality = sa.case((v.c.name == name, v.c.quality))  # the others' are not decoded
    q = sa.select(v.c.name, v.c.version, quality, v.c.rnd).where(v.c.object == str(ref), v.c.env == env)
    with store.read() as c:
        return {(r[0], r[1]): (passed(r[2] or ()), r[3]) for r in c.execute(q).all()}


def newest_first(store: Store, ref: ModelRef, env: str, name: str) -> Generator[dict[str, Any], None, None]:
    """Number and facts of a table's versions, read only as far as the caller goes."""
    v = t.versions
    q = (
        sa.select(v.c.version, v.c.facts)
        .where(v.c.object == str(ref), v.c.env == env, v.c.name == name)
        .order_by(v.c.version.desc())
    )
    with store.read() as c:
        for r in c.execute(q):
            yield {"version": r[0], "facts": r[1] or {}}


def made_by(store: Store, ref: ModelRef, env: str, name: str, run: str, step: str) -> Version | None:
    """The version that a step of a run made."""
    v = t.versions
    row = store.first(
        v.select()
        .where(v.c.object == str(ref), v.c.env == env, v.c.name == name, v.c.run == run, v.c.step == step)
        .order_by(v.c.version.desc())
    )
    return version_of(row) if row else None


def table_uri(site: Site, ref: ModelRef, env: str, name: str) -> str:
    """The table's folder."""
    return f"{site.platform(env).lake_root()}/{model_folder(ref)}/{TableName.parse(name).path()}"


def _at(uri: str, delta_version: int, storage: dict[str, str]) -> Any:
    import_whole("deltalake")
    from deltalake.exceptions import DeltaError

    try:
        table = open_table(uri, storage, delta_version)
    except (DeltaError, FailedError):
        newest = open_table(uri, storage)
        if newest is None or newest.version() >= delta_version:
            raise
        raise older_copy(uri) from None
    if table is None:
        raise not_there(uri)
    return table


def not_there(uri: str) -> NotFoundError:
    """A recorded table whose folder is away."""
    return NotFoundError(
        f"the table at {uri} is not there any more",
        hint="bring its folder back from where it went, or from a backup; esml catalogue rebuild --forget ENV forgets what stays away",
    )


def older_copy(uri: str) -> ConflictError:
    """A table that is not as far as the catalogue says."""
    return ConflictError(
        f"the table at {uri} ends before what was recorded of it: an older copy of it was brought back",
        hint="bring the newer one back, or take this one as it is: esml catalogue rebuild",
    )


def require_same(site: Site, v: Version) -> None:
    """That the commit which a recorded version names in the lake is that very version.

    Raises:
        ConflictError: an older copy was brought back, or another table stands in its place.
    """
    ref, platform = ModelRef.parse(v.object), site.platform(v.env)
    uri = table_uri(site, ref, v.env, v.name)
    entry = commit_of(platform, uri, v.delta_version)
    if entry is None:
        raise older_copy(uri)
    said = json.loads(entry.get(APP) or "{}")
    if v.origin == "engine" and any(said.get(k) != getattr(v, k) for k in ("version", "run", "at")):
        raise ConflictError(
            f"the table at {uri} is another one than was recorded: what stands in the place of its version {v.version} is none, or another one",
            hint="bring the right one back, or take this one as it is: esml catalogue rebuild",
        )


def files_in(site: Site, v: Version) -> tuple[str, ...]:
    """Relative paths of a recorded version's files, oldest name first.

    Raises:
        NotFoundError: its table is not there any more. ConflictError: as `require_same`.
    """
    uri = table_uri(site, ModelRef.parse(v.object), v.env, v.name)
    files = files_of(uri, v.delta_version, site.platform(v.env).storage_options())
    require_same(site, v)
    return files


def files_of(uri: str, delta_version: int, storage: dict[str, str]) -> tuple[str, ...]:
    """Relative paths of a Delta version's files, oldest name first."""
    table = _at(uri, delta_version, storage)
    prefix = uri.rstrip("/") + "/"
    with talking(uri):
        found = table.file_uris()
    return tuple(sorted(u.removeprefix("file://").split(prefix, 1)[-1] for u in found))


def sizes_of(uri: str, delta_version: int, storage: dict[str, str]) -> dict[str, int]:
    """Bytes of a Delta version's files, by relative path."""
    import pyarrow as pa

    table = _at(uri, delta_version, storage)
    with talking(uri):
        adds = pa.table(table.get_add_actions())
    paths, sizes = adds.column("path").to_pylist(), adds.column("size_bytes").to_pylist()
    return {str(p): int(s) for p, s in zip(paths, sizes, strict=True)}


def table_in(
    site: Site, ref: ModelRef, env: str, name: str, version: int | None = None, *, missing_ok: bool = False
) -> TableIn:
    """What a job reads: exactly the files of one version."""
    uri = table_uri(site, ref, env, name)
    found = (
        latest(site.store, ref, env, name)
        if version is None and missing_ok
        else get(site.store, ref, env, name, version)
    )
    if found is None:
        return TableIn(name, uri, None)
    files = files_in(site, found)
    return TableIn(name, uri, found.version, files, found.schema, found.rows)


def on_disk(site: Site, env: str, table: TableIn) -> TableIn:
    """The same table with its files on this machine, to be read here."""
    return replace(table, uri=site.platform(env).here(table.uri, table.files)) if table.files else table
