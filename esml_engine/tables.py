"""The SDK's data: a model's datasets, versioned tables and scored rows."""

from __future__ import annotations

from dataclasses import fields
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esml_engine.errors import NotYetError, UsageError
from esml_engine.refs import Purpose, TableName

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from esml_engine.model import Model
    from esml_engine.runs.facts import TableIn


class Dataset:
    """An input of a model."""

    def __init__(self, model: Model, name: str) -> None:
        self.model, self.name = model, name

    def ingest(self, *files: str | Path, date: str, purpose: Purpose = "train", **how: Any) -> Any:
        """Deliver files."""
        return self.model.ingest(self.name, list(files), date, purpose, **how)

    @property
    def bronze(self) -> Table:
        """Typed, nothing lost."""
        return self.model.table(f"{self.name}/bronze")

    @property
    def silver(self) -> Table:
        """Cleaned and checked."""
        return self.model.table(f"{self.name}/silver")

    def quarantine(self, purpose: Purpose = "train", bronze: int | None = None) -> list[dict[str, Any]]:
        """Rows kept aside, beside a version of bronze (None: the current one): `[{"file", "line", "reason", "raw"}]`.

        In R&D mode these are of the sample, as bronze is: rows in = bronze + quarantine holds of what was read.
        """
        from esml_engine.lake.catalogue import get, quarantine_of

        model = self.model
        prefix = "inference/" if purpose == "inference" else ""
        table = model.table(f"{prefix}{self.name}/quarantine")
        model.estate.require("read_tables", model.ref.project)
        version = None
        if bronze is not None:
            store, where = model.site.store, (model.ref, model.env_name)
            made = get(store, *where, f"{prefix}{self.name}/bronze", bronze)
            beside = quarantine_of(store, *where, table.name, made)
            if beside is None:
                return []
            version = beside.version
        return [
            {k: r[k] for k in ("file", "line", "reason", "raw")}
            for r in table._arrow(version, missing_ok=True).to_pylist()
        ]


class Table:
    """A versioned table. `read()` gives pandas; `.arrow()`, `.polars()`, `.duckdb()` too."""

    def __init__(self, model: Model, name: str) -> None:
        self.model, self.name = model, name

    def _rule(self) -> str:
        if self.name == "scored":
            return "read_scored"
        return "read_gold" if TableName.parse(self.name).dataset is None else "read_tables"

    def _in(self, version: int | None, *, missing_ok: bool = False) -> TableIn:
        from esml_engine.lake.catalogue import on_disk, table_in

        self.model.estate.require(self._rule(), self.model.ref.project)
        if version is not None and (not isinstance(version, Integral) or isinstance(version, bool)):
            raise UsageError(f"a version can't be {version!r}", hint="it is a whole number, or None: the current one")  # fmt: skip
        site, env = self.model.site, self.model.env_name
        found = table_in(site, self.model.ref, env, self.name, version, missing_ok=missing_ok)
        return on_disk(site, env, found)

    def _arrow(self, version: int | None = None, *, missing_ok: bool = False) -> pa.Table:
        from esml_engine.lake.files import arrow

        return arrow(self._in(version, missing_ok=missing_ok))

    def arrow(self, version: int | None = None) -> pa.Table:
        """As one Arrow table."""
        return self._arrow(version)

    def read(self, version: int | None = None) -> pd.DataFrame:
        """As a pandas data frame; `version` None is the current one."""
        frame: pd.DataFrame = self._arrow(version).to_pandas()
        return frame

    def Xy(self, version: int | None = None) -> tuple[pd.DataFrame, pd.Series]:
        """Features and label of gold or one of its splits, of rows that have a label; the key is no feature.

        Raises:
            UsageError: the table has no label column.
        """
        settings = self.model.site.settings.model(self.model.ref)
        frame, label = self.read(version), settings.label
        if not label or label not in frame.columns:
            raise UsageError(
                f"{self.name} of {self.model.ref} has no label",
                hint="gold, gold_train, gold_validate and gold_test have",
            )
        frame = frame[frame[label].notna()].reset_index(drop=True)
        return frame.drop(columns=[label, settings.key], errors="ignore"), frame[label]

    def polars(self, version: int | None = None) -> pl.DataFrame:
        """As a polars data frame."""
        import polars as pl

        return pl.from_arrow(self._arrow(version))  # type: ignore[return-value]

    def duckdb(self, version: int | None = None) -> duckdb.DuckDBPyRelation:
        """As a DuckDB relation over the version's files."""
        import duckdb

        from esml_engine.lake.files import relation

        return relation(duckdb.connect(), self._in(version))

    def write(self, df: Any) -> None:
        """A table is made by its step alone, so that it can be made again from its inputs.

        Raises:
            NotYetError: always; of silver and gold its hint names the file that the same code belongs into.
        """
        hint = "ingest, refine, split and score make the tables, each version with what it was made from"
        if self.name == "gold" or self.name.endswith("/silver"):
            step = f"steps/{TableName.parse(self.name).dataset or 'gold'}.py"
            hint = f"put what makes it into {step} of {self.model.ref}, as its step, and refine: each version knows what it was made from"
        raise NotYetError(f"writing {self.name} by hand comes later", hint=hint)

    def versions(self) -> list[dict[str, Any]]:
        """Newest first: `[{"version", "delta_version", "rows", "at", "run", "inputs", "note", "origin"}]`."""
        from esml_engine.lake.catalogue import listing

        self.model.estate.require("read_status", self.model.ref.project)
        found = listing(self.model.site.store, self.model.ref, self.model.env_name, self.name)
        keys = ("version", "delta_version", "rows", "at", "run", "note", "origin", "by", "bytes", "rnd")
        return [
            {**{k: getattr(v, k) for k in keys}, "inputs": list(v.inputs), "quality": list(v.quality)}
            for v in found
        ]

    def show(self, version: int | None = None, limit: int = 20) -> dict[str, Any]:
        """First rows: `{"version", "columns", "rows"}`."""
        from esml_engine.lake.files import columns_of
        from esml_engine.lake.preview import first_rows

        table = self._in(version)
        return {
            "version": table.version,
            "columns": columns_of(table.schema),
            "rows": first_rows(table, limit),
        }

    def profile(self, version: int | None = None) -> list[dict[str, Any]]:
        """What each column holds: `[{"name", "type", "rows", "nulls", "distinct", "min", "max", "mean", …}]`."""
        from esml_engine.lake.preview import profile

        return profile(self._in(version))

    def diff(self, a: int, b: int) -> dict[str, Any]:
        """What changed from version a to b, by counts."""
        from esml_engine.lake.preview import diff

        key = self.model.site.settings.model(self.model.ref).key
        return diff(self._in(a), self._in(b), key)


class Scored:
    """A filtered view of scored data; nothing is read before it is asked for."""

    def __init__(self, model: Model, wanted: dict[str, Any]) -> None:
        self.model, self.wanted = model, wanted

    def _filter(self, **over: Any) -> Any:
        from esml_engine.scored.facts import ScoredFilter
        from esml_engine.scored.reads import moment

        w = {**self.wanted, **over}
        known = [f.name for f in fields(ScoredFilter)]
        if more := [k for k in w if k not in known]:
            raise UsageError(f"scored takes no {more[0]}", hint=f"it takes {', '.join(known)}")
        where = w.get("where")
        for name in ("limit", "offset"):
            if (n := w.get(name)) is not None and (not isinstance(n, Integral) or isinstance(n, bool)):
                raise UsageError(f"{name} can't be {n!r}", hint="it is a whole number of rows")
        return ScoredFilter(
            **{
                **w,
                "since": moment(w.get("since")),
                "until": moment(w.get("until")),
                "where": (where,) if isinstance(where, str) and where else tuple(where or ()),
            }
        )

    def document(self, out: str = "") -> dict[str, Any]:
        """The contract's answer."""
        from esml_engine.scored.reads import scored

        return scored(self.model.site, self.model.ref, self.model.env_name, self._filter(), out)

    def profile(self) -> list[dict[str, Any]]:
        """What each column holds over all matching rows: `[{"name", "type", "rows", "nulls", "distinct", "min", …}]`."""
        from esml_engine.scored import query, reads

        source = reads.source(self.model.site, self.model.ref, self.model.env_name)
        return query.profile(source, self._filter())

    def histogram(self, column: str, bins: int = 20) -> dict[str, Any]:
        """How one column's values are spread over all matching rows."""
        from esml_engine.scored import query, reads

        source = reads.source(self.model.site, self.model.ref, self.model.env_name)
        return query.histogram(source, self._filter(), column, bins)

    def to_pandas(self) -> pd.DataFrame:
        """All matching rows, or as many as a `limit` that was given."""
        import pandas as pd

        from esml_engine.scored.reads import scored

        wanted = self._filter(limit=self.wanted.get("limit"))
        said = scored(self.model.site, self.model.ref, self.model.env_name, wanted)
        return pd.DataFrame(said["rows"], columns=[c["name"] for c in said["columns"]])

    def export(self, path: str | Path) -> dict[str, Any]:
        """The whole filtered result as csv or parquet."""
        return self.document(str(path))
