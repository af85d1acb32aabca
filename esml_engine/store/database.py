"""The one SQL database: SQLite in WAL mode by default, PostgreSQL by URL. Writers take their lock at the start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic_core import from_json

from esml_engine.errors import DiskError, PlatformError, StoreDamagedError, StoreFullError, disk_full
from esml_engine.store.schema import for_postgresql

HEAD = "0006"
_ILL = "disk I/O error"
_DAMAGED = ("file is not a database", "database disk image is malformed")


class Store:
    """Connections to the store. `read()` never blocks a writer; `write()` is one short transaction."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sqlite = url.startswith("sqlite")
        # SQLite hands JSON over as text: read by the validator's parser, more than twice as fast as the standard one
        of_sqlite = {"connect_args": {"timeout": 30}, "json_deserializer": from_json}
        self.engine = sa.create_engine(url, **of_sqlite if self.sqlite else {})
        if self.sqlite:
            sa.event.listen(self.engine, "connect", _pragmas)
        else:
            for_postgresql()
        self.folder = Path(self.engine.url.database or "").parent if self.sqlite else None

    @classmethod
    def at(cls, folder: Path) -> Store:
        """The store of an estate: `ESML_STORE_URL`, else SQLite in the estate's state folder; migrated when new."""
        url = os.environ.get("ESML_STORE_URL") or f"sqlite:///{folder / 'store.db'}"
        store = cls(url)
        store.prepare()
        return store

    def prepare(self) -> None:
        """Bring the schema to this engine's version; refuse a store newer than the engine."""
        found = self._revision()
        if found == HEAD:
            return
        if self.sqlite:
            Path(self.engine.url.database or "").parent.mkdir(parents=True, exist_ok=True)
        from alembic.config import Config
        from alembic.script import ScriptDirectory
        from filelock import FileLock

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        known = {s.revision for s in ScriptDirectory.from_config(config).walk_revisions()}
        if found is not None and found not in known:
            raise PlatformError(
                f"the store is at schema {found}, newer than this engine ({HEAD})", hint="use a newer engine"
            )
        with FileLock(f"{self.engine.url.database}.migrate") if self.sqlite else _nothing():
            if self._revision() != HEAD:
                from alembic import command

                with self._named(), self.engine.begin() as connection:
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")

    def _revision(self) -> str | None:
        if self.sqlite and not Path(self.engine.url.database or "").exists():
            return None
        with self._named(), self.engine.connect() as c:
            try:
                return c.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
            except (sa.exc.OperationalError, sa.exc.ProgrammingError):
                return None

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A snapshot for reading."""
        with self._named(), self.engine.connect() as c:
            yield c

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction that holds the writer's lock from its first statement (no read-then-write race).

        Raises:
            StoreFullError: its disk takes no more, or fails; nothing of the transaction is there.
        """
        with self._named(), self.engine.connect() as c:
            if self.sqlite:
                c.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                c.exec_driver_sql("SELECT pg_advisory_xact_lock(7361)")
            try:
                yield c
            except BaseException:
                c.rollback()
                raise
            c.commit()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """A full disk and a damaged file by their names, instead of a database's error."""
        try:
            yield
        except sa.exc.DatabaseError as e:
            if self.sqlite and any(words in str(e.orig) for words in _DAMAGED):
                raise StoreDamagedError(
                    f"the store {self.engine.url.database} is damaged: {e.orig}",
                    hint="end all of the estate's processes, put the newest backup of it there, then esml catalogue rebuild takes in what the lake has "
                    "since; without a backup sqlite3's .recover saves what can be read",
                ) from e
            full = disk_full(e.orig or e, folders=[self.folder] if self.folder else []) or self._ill(e)
            if full is None:
                raise
            raise StoreFullError(full.message, hint=full.hint) from e

    def _ill(self, error: sa.exc.DatabaseError) -> DiskError | None:
        """SQLite's word for a disk that takes nothing, where there is room again by the time that it is judged."""
        if not self.sqlite or _ILL not in str(error.orig):
            return None
        return DiskError(
            f"the store {self.engine.url.database} can't be used for now: {error.orig}",
            hint="retry; if it stays so, look whether the disk that it lies on works",
        )

    def rows(self, statement: Any) -> list[dict[str, Any]]:
        """All rows of one statement as dictionaries."""
        with self.read() as c:
            found = c.execute(statement)
            keys = tuple(found.keys())
            return [dict(zip(keys, r, strict=True)) for r in found.all()]

    def first(self, statement: Any) -> dict[str, Any] | None:
        """First row or None."""
        with self.read() as c:
            r = c.execute(statement).mappings().first()
            return dict(r) if r else None

    def close(self) -> None:
        """Drop pooled connections."""
        self.engine.dispose()


def upsert(
    c: sa.Connection, table: sa.Table, row: dict[str, Any], update: tuple[str, ...] | None = None
) -> None:
    """Insert, or update the row with the same primary key (`update`: only these columns; empty: keep the old row)."""
    keys = [k.name for k in table.primary_key.columns]
    if c.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    columns = update if update is not None else tuple(k for k in row if k not in keys)
    statement = insert(table).values(row)
    if columns:
        statement = statement.on_conflict_do_update(index_elements=keys, set_={k: row[k] for k in columns})
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    c.execute(statement)


def _pragmas(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


@contextmanager
def _nothing() -> Iterator[None]:
    yield
