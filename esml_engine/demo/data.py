"""The demo's IN files, as their owners would deliver them: real tables that installed packages carry.

Diabetes: Efron, Hastie, Johnstone, Tibshirani (2004), "Least Angle Regression"; breast cancer: Street, Wolberg,
Mangasarian (1993), both as shipped with scikit-learn (BSD-3). CO2: Keeling and Whorf (2004), Mauna Loa, public domain,
as shipped with statsmodels.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from esml_engine.errors import EsmlError

Row = dict[str, str]
PATIENT = ("age", "sex", "bmi", "bp")
LABS = ("s1", "s2", "s3", "s4", "s5", "s6")
_SAMPLE = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave_points", "symmetry",
    "fractal_dimension")  # fmt: skip
TISSUE = tuple(f"{part}_{name}" for part in ("mean", "error", "worst") for name in _SAMPLE)


@dataclass(frozen=True)
class Delivery:
    """One file of one dataset on one date."""

    dataset: str
    date: str
    name: str
    text: str
    purpose: str = "train"

    def write(self, folder: Path) -> Path:
        """Put it where it can be ingested from."""
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text, encoding="utf-8")
        return path


def patients() -> list[Row]:
    """All 442 patients of the diabetes study, each with an id."""
    folder = _shipped("sklearn", "data", "scikit-learn")
    data = gzip.decompress((folder / "diabetes_data_raw.csv.gz").read_bytes()).decode().split("\n")
    target = gzip.decompress((folder / "diabetes_target.csv.gz").read_bytes()).decode().split()
    out = []
    for n, (line, y) in enumerate(zip((x for x in data if x.strip()), target, strict=True)):
        values = {k: f"{float(v):g}" for k, v in zip((*PATIENT, *LABS), line.split(), strict=True)}
        out.append({"patient_id": str(1001 + n), **values, "y": f"{float(y):g}"})
    return out


def samples() -> list[Row]:
    """All 569 tissue samples of the breast cancer study, each with an id and its diagnosis as a word."""
    text = (_shipped("sklearn", "data", "scikit-learn") / "breast_cancer.csv").read_text(encoding="utf-8")
    reader = csv.reader(io.StringIO(text))
    names = next(reader)[2:4]
    out = []
    for n, values in enumerate(reader):
        features = dict(zip(TISSUE, values[:-1], strict=True))
        out.append({"sample_id": str(70001 + n), **features, "diagnosis": names[int(values[-1])]})
    return out


def weeks() -> list[Row]:
    """Weekly CO2 at Mauna Loa since 1958, in parts per million; a week without a measurement is empty."""
    text = (_shipped("statsmodels", "co2", "statsmodels") / "co2.csv").read_text(encoding="utf-8")
    found = csv.DictReader(io.StringIO(text))
    return [
        {"week": f"{r['date'][:4]}-{r['date'][4:6]}-{r['date'][6:]}", "co2": r["co2"] or ""} for r in found
    ]


def as_csv(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Rows as text, columns in the order of `names`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def diabetes(date: str, first: int, last: int, purpose: str = "train") -> list[Delivery]:
    """Patients and their laboratory values, rows [first, last); the file of October has three broken rows."""
    part = patients()[first:last]
    columns = ["patient_id", *PATIENT, *(["y"] if purpose == "train" else [])]
    text = as_csv(part, columns)
    if date == "2026-10-01":
        lines = text.splitlines()
        lines.insert(11, "2001,forty,1,25.1,88,140")
        lines.insert(30, "2002,51,2,27.3")
        lines.insert(57, "2003,44,1,n/a,90,97")
        text = "\n".join(lines) + "\n"
    labs = as_csv(part, ["patient_id", *LABS])
    return [
        Delivery("ds01_diabetes", date, f"patients-{date}.csv", text, purpose),
        Delivery("ds02_labs", date, f"labs-{date}.csv", labs, purpose),
    ]


def tumours(date: str, first: int, last: int, purpose: str = "train") -> list[Delivery]:
    """Tissue samples, rows [first, last)."""
    columns = ["sample_id", *TISSUE, *(["diagnosis"] if purpose == "train" else [])]
    return [
        Delivery("ds01_tissue", date, f"tissue-{date}.csv", as_csv(samples()[first:last], columns), purpose)
    ]


def co2(date: str, first: str, last: str) -> list[Delivery]:
    """Weeks from `first` (ISO date) until before `last`."""
    part = [r for r in weeks() if first <= r["week"] < last]
    return [Delivery("ds01_weekly", date, f"mauna-loa-{date}.csv", as_csv(part, ["week", "co2"]))]


def visits(date: str, first: int, last: int) -> list[Delivery]:
    """Patients for a report: no label, no model."""
    text = as_csv(patients()[first:last], ["patient_id", *PATIENT])
    return [Delivery("ds01_patients", date, f"visits-{date}.csv", text)]


def unreadable(date: str) -> Delivery:
    """A file that a transfer cut in the middle of its compressed bytes."""
    return Delivery(
        "ds01_patients", date, f"visits-{date}.csv", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x00"
    )


def _shipped(package: str, folder: str, install: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EsmlError(f"{install} is not installed", hint="install the product with its dependencies")
    return Path(spec.submodule_search_locations[0]) / "datasets" / folder
