"""A model of one series as files: parameters as JSON, boosters as LightGBM's text, the history as parquet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from esml_engine.errors import FailedError
from esml_engine.training.series.classic import Decomposed, Ets, Naive, Theta
from esml_engine.training.series.data import Layout, Series
from esml_engine.training.series.frames import Member
from esml_engine.training.series.lags import LagMember
from esml_engine.training.series.model import SeriesModel

HISTORY = "history.parquet"


def save_series(model: SeriesModel, root: Path, write_booster: Callable[[Any, Path], None]) -> dict[str, Any]:
    """Write the model's files into `root`; the answer is its part of `model.json`."""
    members = []
    for i, member in enumerate(model.members):
        raw = member.to_json()
        if isinstance(member, LagMember) and member.kind == "lightgbm":
            raw["file"] = f"member{i:02d}.txt"
            write_booster(member.part, root / raw["file"])
        members.append(raw)
    h = model.history
    columns: dict[str, Any] = {"time": pa.array(h.times), "y": h.y, "observed": h.observed}
    columns |= {f"x{i}": h.x[:, i] for i in range(h.x.shape[1])}
    pq.write_table(pa.table(columns), root / HISTORY)
    return {
        "kind": "series",
        "layout": asdict(model.layout),
        "frequency": h.frequency,
        "begins": str(model.begins),
        "widths": model.widths.tolist(),
        "relative": model.relative,
        "fill": model.fill.tolist(),
        "members": members,
    }


def load_series(
    root: Path,
    raw: Mapping[str, Any],
    inside: Callable[[Path, str], Path],
    read_booster: Callable[[Path], Any],
) -> SeriesModel:
    """Inverse of `save_series`. `inside`: a part's path, checked to lie in the folder."""
    layout = Layout(**{**raw["layout"], "known": tuple(raw["layout"]["known"])})
    table = pq.read_table(inside(root, HISTORY))
    times = np.asarray(table.column("time").cast(pa.int64()).to_numpy()).astype("datetime64[us]")
    x = (
        np.column_stack([table.column(f"x{i}").to_numpy() for i in range(len(layout.known))])
        if layout.known
        else np.zeros((len(times), 0))
    )
    history = Series(
        times,
        np.array(table.column("y").to_numpy()),
        x,
        np.asarray(table.column("observed").to_numpy(zero_copy_only=False), dtype=bool),
        raw["frequency"],
    )
    members = [_member(root, m, inside, read_booster) for m in raw["members"]]
    types = {c["name"]: c["type"] for c in raw["signature"]}
    return SeriesModel(
        members, layout, history, np.datetime64(raw["begins"], "us"), np.array(raw["widths"]),
        np.array(raw["fill"], dtype=np.float64), types, raw["example"],
        relative=bool(raw.get("relative", False)),
    )  # fmt: skip


def _member(
    root: Path,
    raw: Mapping[str, Any],
    inside: Callable[[Path, str], Path],
    read_booster: Callable[[Path], Any],
) -> Member:
    kind, given = raw["kind"], dict(raw)
    if kind in ("linear", "lightgbm"):
        return LagMember.from_json(
            given, read_booster(inside(root, raw["file"])) if kind == "lightgbm" else None
        )
    if kind in ("seasonal_naive", "theta"):
        return (Naive if kind == "seasonal_naive" else Theta)(int(raw["params"]["season"]))
    if kind == "ets":
        return Ets(dict(raw["params"]))
    if kind == "mstl":
        return Decomposed(dict(raw["params"]))
    raise FailedError(f"the model has a member of unknown kind {kind!r}")
