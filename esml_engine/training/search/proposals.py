"""New settings around what did well so far: a seeded random search for the time that the fixed plan leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_SEARCHED = ("lightgbm", "xgboost", "extra_trees")


def propose(
    rng: np.random.Generator, done: Sequence[tuple[str, dict[str, Any], float]]
) -> tuple[str, dict[str, Any]] | None:
    """An estimator and a setting near the best three so far; None when no family that can be searched is there.

    Args:
        done: (estimator, setting, loss) of finished trials.
    """
    fit = sorted((d for d in done if d[0] in _SEARCHED), key=lambda d: d[2])[:3]
    if not fit:
        return None
    kind, params, _ = fit[int(rng.integers(len(fit)))]
    return kind, _NEAR[kind](rng, params)


def _scaled(rng: np.random.Generator, value: float, low: float, high: float, spread: float = 0.5) -> float:
    """`value` times a log-normal factor, inside [low, high], to three digits."""
    return float(f"{float(np.clip(value * np.exp(rng.normal(0, spread)), low, high)):.3g}")


def _lightgbm(rng: np.random.Generator, p: dict[str, Any]) -> dict[str, Any]:
    return {
        **p,
        "learning_rate": _scaled(rng, p["learning_rate"], 0.015, 0.15, 0.3),
        "num_leaves": round(_scaled(rng, p["num_leaves"], 4, 256)),
        "min_data_in_leaf": round(_scaled(rng, p["min_data_in_leaf"], 2, 200)),
        "feature_fraction": _scaled(rng, p["feature_fraction"], 0.2, 1.0, 0.3),
        "lambda_l2": _scaled(rng, p.get("lambda_l2", 0.1), 0.001, 100.0, 1.0),
        "bagging_fraction": _scaled(rng, p.get("bagging_fraction", 0.9), 0.5, 1.0, 0.15),
        "bagging_freq": 1,
    }


def _xgboost(rng: np.random.Generator, p: dict[str, Any]) -> dict[str, Any]:
    return {
        **p,
        "eta": _scaled(rng, p["eta"], 0.015, 0.15, 0.3),
        "max_depth": round(_scaled(rng, p["max_depth"], 2, 12, 0.3)),
        "min_child_weight": _scaled(rng, p.get("min_child_weight", 1.0), 0.5, 100.0),
        "subsample": _scaled(rng, p["subsample"], 0.5, 1.0, 0.15),
        "colsample_bynode": _scaled(rng, p["colsample_bynode"], 0.2, 1.0, 0.3),
        "lambda": _scaled(rng, p.get("lambda", 1.0), 0.01, 100.0, 1.0),
    }


def _extra_trees(rng: np.random.Generator, p: dict[str, Any]) -> dict[str, Any]:
    return {
        "min_samples_leaf": round(_scaled(rng, p["min_samples_leaf"], 1, 30)),
        "max_features": _scaled(rng, p["max_features"], 0.2, 1.0, 0.3),
    }


_NEAR = {"lightgbm": _lightgbm, "xgboost": _xgboost, "extra_trees": _extra_trees}
