"""IN files: which were delivered, which are already in bronze, which wait. Files lie in the lake; rows here are a projection."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esml_engine.clock import now
from esml_engine.door.site import Site
from esml_engine.errors import UsageError
from esml_engine.lake.catalogue import Version, latest, newest_first
from esml_engine.platforms.base import Platform
from esml_engine.refs import ModelRef, Purpose, TableName, model_folder
from esml_engine.settings import DatasetSettings
from esml_engine.store import schema as t
from esml_engine.store.database import Store

_STAMPED = re.compile(r"(?P<stem>.+)-(?P<hash>[0-9a-f]{12})(?P<ext>\.[^.]+)$")


@dataclass(frozen=True)
class InFile:
    """One delivered file: (purpose, dataset, date, delivered name) is which, its hash is what."""

    dataset: str
    purpose: Purpose
    date: str
    name: str
    sha256: str
    path: str  # below the lake's root
    bytes: int
    at: str

    @property
    def shown(self) -> str:
        """How messages name it."""
        return f"{self.dataset}/in/{self.date.replace('-', '/')}/{self.name}"


@dataclass(frozen=True)
class Loaded:
    """What bronze holds of one delivered file."""

    sha256: str
    bronze: tuple[str, ...]
    quarantine: tuple[str, ...]
    rows_in: int
    rows_bronze: int
    rows_quarantine: int
    version: int


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _hash_in_lake(platform: Platform, path: str) -> str:
    folder, _, name = path.rpartition("/")
    return hash_file(Path(platform.here(folder, [name], fixed=False)) / name)


def check_date(text: str) -> str:
    """An ISO date.

    Raises:
        UsageError: otherwise.
    """
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError as e:
        raise UsageError(f"{text!r} is not a date", hint="write it as YYYY-MM-DD") from e


def check_delivered_name(name: str) -> str:
    """A file name that is safe in a path."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._()-]{0,150}", name):
        raise UsageError(
            f"file name {name!r} has characters that a lake path may not hold",
            hint="use letters, digits, dot, dash, underscore",
        )
    return name


def in_folder(ref: ModelRef, dataset: str, purpose: Purpose) -> str:
    """The dataset's IN folder below the lake's root."""
    return f"{model_folder(ref)}/{purpose}/{dataset}/in"


def in_path(ref: ModelRef, dataset: str, purpose: Purpose, date: str, name: str, sha256: str) -> str:
    """Where the engine puts a delivered file: its name plus a short content hash, so nothing is overwritten."""
    p = Path(name)
    return f"{in_folder(ref, dataset, purpose)}/{date.replace('-', '/')}/{p.stem}-{sha256[:12]}{p.suffix}"


def delivered_name(path: str, sha256: str = "") -> str:
    """The name under which the file at a path was delivered: without the short hash that the engine puts into it."""
    name = path.rpartition("/")[2]
    m = _STAMPED.fullmatch(name)
    return m["stem"] + m["ext"] if m and (not sha256 or sha256.startswith(m["hash"])) else name


def delivered(site: Site, ref: ModelRef, env: str, dataset: str, purpose: Purpose) -> list[InFile]:
    """The newest content of every delivered file, oldest date first. Hashes only what the store has not seen."""
    platform = site.platform(env)
    known = _known(site.store, ref, env, purpose, dataset)
    folder = in_folder(ref, dataset, purpose)
    newest: dict[tuple[str, str], tuple[int, InFile]] = {}
    for path, size, mtime in platform.list_files(folder):
        date, name = _placed(path.removeprefix(folder + "/"))
        if not date:
            continue
        stat = f"{size}:{mtime}"
        row = known.get((path, stat))
        sha = row["sha256"] if row else _hash_in_lake(platform, path)
        name = delivered_name(name, sha)
        at = dt.datetime.fromtimestamp(mtime / 1e9, dt.UTC).isoformat(timespec="microseconds")
        f = InFile(dataset, purpose, date, name, sha, path, size, at)
        old = newest.get((date, name))
        if old is None or mtime > old[0]:
            newest[(date, name)] = (mtime, f)
    return sorted((f for _, f in newest.values()), key=lambda f: (f.date, f.name))


def misplaced(site: Site, ref: ModelRef, env: str, dataset: str, purpose: Purpose) -> list[str]:
    """Files that somebody put into IN, but into no day's folder: nothing reads them. Paths below the model's folder."""
    folder = in_folder(ref, dataset, purpose)
    paths = [path.removeprefix(folder + "/") for path, _, _ in site.platform(env).list_files(folder)]
    return [f"{dataset}/in/{p}" for p in sorted(paths) if not _placed(p)[0] and not p.startswith((".", "_"))]


def _placed(path: str) -> tuple[str, str]:
    """The day and the name of `yyyy/mm/dd/name`; both empty for a path of another shape."""
    *day, name = path.split("/")
    try:
        if not re.fullmatch(r"\d{4}/\d{2}/\d{2}", "/".join(day)):
            return "", ""
        return dt.date.fromisoformat("-".join(day)).isoformat(), name
    except ValueError:  # no day of the calendar
        return "", ""


def _known(
    store: Store, ref: ModelRef, env: str, purpose: str, dataset: str
) -> dict[tuple[str, str], dict[str, Any]]:
    i = t.in_files
    rows = store.rows(
        i.select().where(
            i.c.object == str(ref), i.c.env == env, i.c.purpose == purpose, i.c.dataset == dataset
        )
    )
    return {(r["path"], r["stat"]): r for r in rows}


def seen_row(ref: ModelRef, env: str, f: InFile, size: int, mtime: int, by: str) -> dict[str, Any]:
    """The store's row of a file whose hash is known; `stat` (size and modification time) says when to hash again."""
    return {
        "object": str(ref), "env": env, "purpose": f.purpose, "dataset": f.dataset, "date": f.date, "name": f.name,
        "sha256": f.sha256, "path": f.path,
        "bytes": f.bytes, "at": now(), "by": by, "stat": f"{size}:{mtime}",
    }  # fmt: skip


def loaded(
    store: Store, ref: ModelRef, env: str, dataset: str, purpose: Purpose
) -> dict[tuple[str, str], Loaded]:
    """What the current bronze holds, by (date, delivered name): its versions' facts laid over each other, back to
    the last that was read anew."""
    out: dict[tuple[str, str], Loaded] = {}
    for v in newest_first(store, ref, env, str(TableName("bronze", dataset, purpose))):
        for f in v["facts"].get("files", []):
            if (f["date"], f["name"]) in out:
                continue
            out[(f["date"], f["name"])] = Loaded(
                f["sha256"],
                tuple(f["bronze_files"]),
                tuple(f["quarantine_files"]),
                f["rows_in"],
                f["bronze"],
                f["quarantine"],
                v["version"],
            )
        if v["facts"].get("anew"):
            break
    return out


def reading(settings: DatasetSettings) -> str:
    """Fingerprint of how a dataset's files are to be read: read another way, they give other rows."""
    shape = settings.model_dump_json(include={"format", "delimiter", "encoding", "null", "types"})
    return hashlib.sha256(shape.encode()).hexdigest()[:16]


def read_otherwise(bronze: Version | None, settings: DatasetSettings) -> bool:
    """Whether a bronze version was read another way than the settings say now (an old one does not tell)."""
    return bronze is not None and bronze.facts.get("how", reading(settings)) != reading(settings)


def checks(settings: DatasetSettings) -> str:
    """Fingerprint of what a dataset's bronze is held to."""
    held = [e.model_dump(mode="json") for e in settings.expect if e.on == "bronze"]
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:16]


def why_anew(site: Site, ref: ModelRef, env: str, dataset: str, purpose: Purpose) -> str:
    """Why the next bronze is read anew from all files; '' where what is new does (an old version does not tell)."""
    settings = site.settings.model(ref).datasets[dataset]
    bronze = latest(site.store, ref, env, str(TableName("bronze", dataset, purpose)))
    if read_otherwise(bronze, settings):
        return "settings say another way to read them"
    if bronze is not None and bronze.facts.get("checks", checks(settings)) != checks(settings):
        return "settings expect other things of bronze"
    quarantine = latest(site.store, ref, env, str(TableName("quarantine", dataset, purpose)))
    if quarantine is None and any(
        f.quarantine for f in loaded(site.store, ref, env, dataset, purpose).values()
    ):
        return "the rows that were rejected are not there any more"
    return ""


def _refused(
    site: Site, ref: ModelRef, env: str, dataset: str, purpose: Purpose
) -> dict[tuple[str, str, str], str]:
    """(date, delivered name, sha256) -> why it could not be read, read the way that is in force."""
    how = reading(site.settings.model(ref).datasets[dataset])
    return {
        (f["date"], f["name"], f["sha256"]): str(f["reason"])
        for v in newest_first(site.store, ref, env, str(TableName("bronze", dataset, purpose)))
        for f in v["facts"].get("refused", [])
        if f.get("how") == how
    }


def kept_out(site: Site, ref: ModelRef, env: str, dataset: str, purpose: Purpose) -> list[tuple[InFile, str]]:
    """Delivered files that an earlier refinement refused in this very content, with the reason."""
    refused = _refused(site, ref, env, dataset, purpose)
    if not refused:
        return []
    found = delivered(site, ref, env, dataset, purpose)
    return [(f, refused[key]) for f in found if (key := (f.date, f.name, f.sha256)) in refused]


def readable(site: Site, ref: ModelRef, env: str, dataset: str, purpose: Purpose) -> list[InFile]:
    """Every delivered file that was not refused in its content."""
    refused = _refused(site, ref, env, dataset, purpose)
    found = delivered(site, ref, env, dataset, purpose)
    return [f for f in found if (f.date, f.name, f.sha256) not in refused]


def gone(site: Site, ref: ModelRef, env: str, dataset: str, purpose: Purpose) -> list[tuple[str, int]]:
    """Files that the current bronze holds and IN has no more, with their rows in it: read anew, it would be without them."""
    there = {(f.date, f.name) for f in delivered(site, ref, env, dataset, purpose)}
    held = loaded(site.store, ref, env, dataset, purpose)
    return [
        (f"{dataset}/in/{date.replace('-', '/')}/{name}", f.rows_bronze)
        for (date, name), f in sorted(held.items())
        if (date, name) not in there and f.rows_bronze
    ]


def waiting(site: Site, ref: ModelRef, env: str, dataset: str, purpose: Purpose) -> list[InFile]:
    """Delivered files that bronze does not hold in this content, read as settings say, and that were not refused."""
    have = loaded(site.store, ref, env, dataset, purpose)
    if why_anew(site, ref, env, dataset, purpose):
        have = {}
    return [
        f
        for f in readable(site, ref, env, dataset, purpose)
        if (f.date, f.name) not in have or have[(f.date, f.name)].sha256 != f.sha256
    ]
