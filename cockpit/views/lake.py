"""The lake's page: dataset by layer, gold and split; each cell says its version, and whether something newer waits before it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from cockpit.facts.lake import LakeFacts
from cockpit.words import ago, plural
from esml_engine.lake.catalogue import Version
from esml_engine.lake.deliveries import InFile
from esml_engine.refining.staleness import goal_table, input_version
from esml_engine.refs import TableName


@dataclass(frozen=True)
class Cell:
    """One cell: a badge (icon and word, colour repeats them) and a note."""

    label: str
    note: str
    icon: str
    color: str
    quarantine: str = ""  # the table whose broken rows were kept out


NONE = Cell("none yet", "", "remove", "gray")


@dataclass(frozen=True)
class Matrix:
    """All cells of one side of the lake."""

    datasets: dict[str, tuple[Cell, Cell, Cell]]  # IN, bronze, silver
    goal: str
    gold: Cell
    split: Cell | None
    waiting: int
    newest: str | None  # when the newest version here was made
    away: bool = False  # the environment can't be reached


def in_cell(files: list[InFile], waiting: int, refused: int = 0) -> Cell:
    """What was delivered, and how much of it bronze does not hold: not read yet, or refused as unreadable."""
    if not files:
        return Cell("none yet", "deliver to IN", "inbox", "gray")
    last = max(f.date for f in files)
    if waiting:
        return Cell(f"{waiting} waiting", f"of {len(files)} · last {last}", "inbox", "orange")
    if refused:
        return Cell(f"{plural(refused, 'file')} refused", f"of {len(files)} · last {last}", "report", "red")
    return Cell("all read", f"{plural(len(files), 'file')} · last {last}", "check", "green")


def version_cell(v: Version | None, to_do: bool, notes: list[str], now: dt.datetime) -> Cell:
    """A table's current version; `to_do`: the next refinement makes a newer one."""
    if v is None:
        return (
            Cell("not made yet", "the next refinement makes it", "hourglass_empty", "orange")
            if to_do
            else NONE
        )
    bad = [q for q in v.quality if not q.get("passed", True)]
    note = " · ".join(
        [plural(v.rows, "row"), ago(v.at, now), *notes, *([plural(len(bad), "warning")] if bad else [])]
    )
    kept_out = any("quarantined" in n for n in notes)
    broken = v.name if kept_out else ""
    if to_do:
        return Cell(f"v{v.version} → v{v.version + 1}", note, "update", "orange", quarantine=broken)
    # how many rows were kept out stands in the note: a narrow badge can't wrap
    label = f"v{v.version} · warned" if bad and not kept_out else f"v{v.version}"
    icon, color = ("warning", "orange") if bad or kept_out else ("check", "green")
    return Cell(label, note, icon, color, quarantine=broken)


def split_cell(
    gold: Version | None, train: Version | None, sides: dict[str, Version], now: dt.datetime
) -> Cell:
    """Shares and kind of the current split; stale when gold moved on."""
    if train is None:
        return Cell("not split yet", "", "hourglass_empty", "orange") if gold else NONE
    split = train.facts.get("split", {})
    shares = " / ".join(f"{100 * float(split.get(k, 0)):.0f}" for k in ("train", "validate", "test"))
    rows = " / ".join(
        f"{sides[n].rows:,}" for n in ("gold_train", "gold_validate", "gold_test") if n in sides
    )
    note = f"{shares} % by {split.get('by', 'key')} · {rows} rows · {ago(train.at, now)}"
    behind = input_version(train, "gold")
    if gold and behind != gold.version:
        return Cell(f"of gold v{behind}", note, "update", "orange")
    return Cell(f"of gold v{behind}", note, "check", "green")


def matrix(facts: LakeFacts, now: dt.datetime) -> Matrix:
    """Every cell of a side; where the environment can't be reached, IN says so."""
    settings, purpose = facts.settings, facts.purpose
    todo, have = facts.todo, facts.todo.have
    goal = goal_table(purpose)

    def name(layer: str, ds: str) -> str:
        return str(TableName(layer, ds, purpose))

    cells = {}
    for ds in settings.datasets:
        q = have.get(name("quarantine", ds))
        notes = [f"{q.rows:,} quarantined"] if q and q.rows else []
        cells[ds] = (
            Cell("not reached", "", "cloud_off", "gray")
            if facts.away
            else in_cell(facts.delivered[ds], len(todo.files.get(ds, [])), len(facts.refused[ds])),
            version_cell(have.get(name("bronze", ds)), ds in todo.bronze, notes, now),
            version_cell(have.get(name("silver", ds)), ds in todo.silver, [], now),
        )
    gold = have.get(goal)
    newer = (
        sum(
            input_version(gold, name("silver", ds)) != have[name("silver", ds)].version
            for ds in settings.datasets
            if name("silver", ds) in have
        )
        if gold
        else 0
    )
    gold_cell = version_cell(gold, todo.gold, [f"{newer} newer silver"] if newer else [], now)
    if gold is None and todo.blocked:
        gold_cell = Cell("waits", f"for {', '.join(todo.blocked)}", "hourglass_empty", "gray")
    sides: dict[str, Version] = {
        n: have[n] for n in ("gold_train", "gold_validate", "gold_test") if n in have
    }
    split = (
        split_cell(gold, have.get("gold_train"), sides, now)
        if purpose == "train" and settings.task != "analytics"
        else None
    )
    return Matrix(
        cells,
        goal,
        gold_cell,
        split,
        sum(len(f) for f in todo.files.values()),
        max((v.at for v in have.values()), default=None),
        facts.away,
    )


def made(result: dict[str, Any] | None) -> list[str]:
    """What a refinement or split made, in words: `ds01 bronze v3: 44,120 rows, 14 quarantined`."""
    out = []
    for layer in (result or {}).get("layers", []):
        if layer.get("changed"):
            kept = f", {layer['quarantined']:,} quarantined" if layer.get("quarantined") else ""
            out.append(
                f"{layer['dataset'] + ' ' if layer['dataset'] else ''}{layer['layer']} v{layer['version']}: {plural(layer['rows'], 'row')}{kept}"
            )
    for name, its in (
        (result or {}).get("tables", {}).items() if isinstance((result or {}).get("tables"), dict) else ()
    ):
        out.append(f"{name} v{its['version']}: {plural(its['rows'], 'row')}")
    return out


def delivery_in_words(answer: dict[str, Any]) -> str:
    """What became of the files of a delivery, in words: `2 files added, 1 file unchanged`."""
    found = [f["status"] for f in answer["files"]]
    return ", ".join(f"{plural(found.count(s), 'file')} {s}" for s in dict.fromkeys(found)) or "nothing"
