"""The portfolio against plain FLAML at equal seconds: RMSE or log loss on held-out test rows, 60/20/20, one JSON line a table.

python benchmarks/automl.py [--data FOLDER] [--seconds 15] [--seeds 3] [--only NAME] [--task TASK | --seven]
        [--validate choose|learn]

Without a folder, tables that scikit-learn bundles. FLAML is given train and validate together, as it splits by
itself; `ratio` (median over the seeds) below 1 means that the portfolio was better.
`--seven` with the project's data folder: target, better on five of seven. Needs the extra `flaml`.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from esml_engine.training.asking import answers_of, metrics_of
from esml_engine.training.facts import Profile
from esml_engine.training.measuring import metrics
from esml_engine.training.search.portfolio import search

# file below the data folder, label, columns left out
TABLES = {
    "diabetes": ("diabetes/diabetes.csv", "Y", ()),
    "bike": ("bike-sharing/bike.csv", "cnt", ("instant", "dteday")),
    "diamonds": ("diamonds/diamonds.csv", "price", ()),
    "penguins_mass": ("penguins/penguins.csv", "body_mass_g", ()),
    "titanic_fare": ("titanic/titanic.csv", "Fare", ("PassengerId",)),
}

CLASSES = {
    "titanic": ("titanic/titanic.csv", "Survived", ("PassengerId", "Name", "Ticket")),
    "penguins": ("penguins/penguins.csv", "species", ()),
    "cancer": ("sklearn-small/breast_cancer.csv", "target", ()),
    "wine": ("sklearn-small/wine_data.csv", "target", ()),
}
SEVEN = {
    "regression": ("diabetes", "bike", "diamonds"),
    "classification": ("titanic", "penguins", "cancer", "wine"),
}
METRIC = {"regression": "rmse", "classification": "log_loss"}


def bundled_classes() -> dict[str, tuple[pd.DataFrame, str]]:
    """Tables with classes that come with scikit-learn, the last made from a formula, with few of one class."""
    from sklearn import datasets

    known = {"cancer": datasets.load_breast_cancer, "wine": datasets.load_wine, "iris": datasets.load_iris}
    tables = {name: (load(as_frame=True).frame, "target") for name, load in known.items()}
    x, y = datasets.make_classification(
        2_000, 12, n_informative=6, weights=[0.95], flip_y=0.02, random_state=0
    )
    tables["rare"] = (pd.DataFrame(x, columns=[f"x{i}" for i in range(12)]).assign(y=y), "y")
    return tables


def sklearn_csv(path: Path) -> pd.DataFrame:
    """scikit-learn's bundled files: a first line `rows,features,class names…`, then the numbers, the class last."""
    rows = pd.read_csv(path, header=None, skiprows=1)
    return rows.set_axis([*(f"x{i}" for i in range(rows.shape[1] - 1)), "target"], axis=1)


def bundled() -> dict[str, tuple[pd.DataFrame, str]]:
    """Tables that come with scikit-learn, the last two made from a formula."""
    from sklearn import datasets

    tables = {"diabetes": (datasets.load_diabetes(as_frame=True).frame, "target")}
    wine = datasets.load_wine(as_frame=True).frame
    cancer = datasets.load_breast_cancer(as_frame=True).frame
    tables["wine_alcohol"] = (wine, "alcohol")
    tables["cancer_smoothness"] = (cancer, "mean smoothness")
    for name, make in (("friedman1", datasets.make_friedman1), ("friedman2", datasets.make_friedman2)):
        noise = 1.0 if name == "friedman1" else 50.0
        x, y = make(n_samples=2_000, noise=noise, random_state=0)
        tables[name] = (pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])]).assign(y=y), "y")
    return tables


def from_folder(folder: Path, task: str) -> dict[str, tuple[pd.DataFrame, str]]:
    """The known tables of a task that stand in the folder."""
    found = {}
    for name, (file, label, out) in (TABLES if task == "regression" else CLASSES).items():
        if (folder / file).exists():
            read = sklearn_csv if file.startswith("sklearn-small") else pd.read_csv
            frame = read(folder / file).drop(columns=list(out))
            found[name] = (frame.dropna(subset=[label]).reset_index(drop=True), label)
    return found


def split(frame: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """60 % train, 20 % validate, 20 % test."""
    order = np.random.default_rng(seed).permutation(len(frame))
    a, b = int(0.6 * len(frame)), int(0.8 * len(frame))
    return frame.iloc[order[:a]], frame.iloc[order[a:b]], frame.iloc[order[b:]]


def ours(
    parts: tuple[pd.DataFrame, ...], label: str, seconds: float, seed: int, learn: bool, task: str
) -> tuple[float, float]:
    """Test loss and seconds used of the portfolio."""
    train, validate, test = (pa.Table.from_pandas(p, preserve_index=False) for p in parts)
    profile = Profile(seconds=seconds, trials=60, seed=seed, learn_from_validate=learn, metric=METRIC[task])
    found = search(train, validate, label=label, profile=profile, task=task)
    value = metrics_of(answers_of(found.model(), test))[METRIC[task]]
    return float(value or 0.0), found.seconds


def reference(
    parts: tuple[pd.DataFrame, ...], label: str, seconds: float, seed: int, task: str
) -> tuple[float, float]:
    """Test loss and seconds used of plain FLAML."""
    from flaml import AutoML

    train, validate, test = parts
    both = pd.concat([train, validate])
    # FLAML's preprocessing does not know pandas 3's text type
    both, test = (f.astype(dict.fromkeys(f.select_dtypes("str").columns, object)) for f in (both, test))
    at = time.monotonic()
    automl: Any = AutoML()
    automl.fit(
        X_train=both.drop(columns=[label]),
        y_train=both[label],
        task=task,
        metric=METRIC[task],
        time_budget=seconds,
        seed=seed,
        verbose=0,
    )
    used = time.monotonic() - at
    x = test.drop(columns=[label])
    if task == "classification":
        places = test[label].map({c: i for i, c in enumerate(automl.classes_)}).fillna(-1)
        value = metrics.metric("log_loss", places.to_numpy(np.int64), automl.predict_proba(x))
    else:
        pred = np.asarray(automl.predict(x), dtype=np.float64)
        value = metrics.rmse(test[label].to_numpy(np.float64), pred)
    return float(value or 0.0), used


def row(name: str, frame: pd.DataFrame, label: str, task: str, given: argparse.Namespace) -> dict[str, Any]:
    """Both on one table, seed by seed."""
    mine, theirs, used, used_theirs = [], [], [], []
    for seed in range(1, given.seeds + 1):
        parts = split(frame, seed)
        value, spent = ours(parts, label, given.seconds, seed, given.validate == "learn", task)
        mine.append(value)
        used.append(spent)
        value, spent = reference(parts, label, given.seconds, seed, task)
        theirs.append(value)
        used_theirs.append(spent)
    return {
        "name": name,
        "metric": METRIC[task],
        "rows": len(frame),
        "ours": round(median(mine), 4),
        "reference": round(median(theirs), 4),
        "ratio": round(median(a / b for a, b in zip(mine, theirs, strict=True)), 4),
        "wins": sum(a < b for a, b in zip(mine, theirs, strict=True)),
        "seeds": given.seeds,
        "ours_seconds": round(median(used), 1),
        "reference_seconds": round(median(used_theirs), 1),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--task", choices=list(METRIC), default="regression")
    parser.add_argument("--seven", action="store_true", help="seven tables of the folder, both tasks")
    parser.add_argument("--validate", choices=["choose", "learn"], default="choose")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    better = tables_seen = 0
    for task in METRIC if given.seven else [given.task]:
        if given.data:
            tables = from_folder(given.data, task)
        else:
            tables = bundled() if task == "regression" else bundled_classes()
        for name, (frame, label) in tables.items():
            if (given.only and name not in given.only.split(",")) or (
                given.seven and name not in SEVEN[task]
            ):
                continue
            line = row(name, frame, label, task, given)
            better, tables_seen = better + (line["ratio"] < 1), tables_seen + 1
            print(json.dumps(line), flush=True)
    print(json.dumps({"name": "automl", "better": better, "of": tables_seen}), flush=True)


if __name__ == "__main__":
    main()
