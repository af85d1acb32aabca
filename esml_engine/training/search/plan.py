"""The portfolio's fixed settings, in the order in which they are tried: one of each family first."""

from __future__ import annotations

from typing import Any

Plan = tuple[tuple[str, dict[str, Any]], ...]

LARGE_ROWS = 5_000

SMALL: Plan = (
    ("lightgbm", {"learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 20, "feature_fraction": 0.9}),
    ("linear", {}),
    (
        "xgboost",
        {"eta": 0.05, "max_depth": 6, "min_child_weight": 2, "subsample": 0.9, "colsample_bynode": 0.8},
    ),
    ("extra_trees", {"min_samples_leaf": 2, "max_features": 1.0}),
    ("perpetual", {"budget": 0.5}),
    (
        "lightgbm",
        {
            "learning_rate": 0.03,
            "num_leaves": 8,
            "min_data_in_leaf": 30,
            "feature_fraction": 0.5,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 10.0,
        },
    ),
    ("xgboost", {"eta": 0.04, "max_depth": 3, "subsample": 0.7, "colsample_bynode": 0.5, "lambda": 5.0}),
    ("extra_trees", {"min_samples_leaf": 5, "max_features": 0.5}),
    (
        "lightgbm",
        {
            "learning_rate": 0.04,
            "num_leaves": 96,
            "min_data_in_leaf": 10,
            "feature_fraction": 0.7,
            "lambda_l2": 1.0,
        },
    ),
    ("perpetual", {"budget": 1.0}),
    (
        "xgboost",
        {"eta": 0.04, "max_depth": 9, "min_child_weight": 10, "subsample": 0.8, "colsample_bynode": 0.6},
    ),
    (
        "lightgbm",
        {
            "extra_trees": True,
            "learning_rate": 0.05,
            "num_leaves": 31,
            "min_data_in_leaf": 10,
            "feature_fraction": 0.9,
            "lambda_l2": 1.0,
        },
    ),
)

# many rows: bigger trees pay, and larger steps let bagging happen within the budget; the patient ones come last
LARGE: Plan = (
    (
        "xgboost",
        {"eta": 0.1, "max_depth": 8, "min_child_weight": 5, "subsample": 0.9, "colsample_bynode": 0.7},
    ),
    ("lightgbm", {"learning_rate": 0.1, "num_leaves": 96, "min_data_in_leaf": 10, "feature_fraction": 0.7}),
    ("linear", {}),
    ("perpetual", {"budget": 0.5}),
    ("extra_trees", {"min_samples_leaf": 2, "max_features": 1.0}),
    (
        "lightgbm",
        {
            "learning_rate": 0.05,
            "num_leaves": 48,
            "min_data_in_leaf": 20,
            "feature_fraction": 0.8,
            "lambda_l2": 1.0,
        },
    ),
    (
        "xgboost",
        {"eta": 0.05, "max_depth": 7, "min_child_weight": 2, "subsample": 0.8, "colsample_bynode": 0.8},
    ),
    ("perpetual", {"budget": 1.0}),
    (
        "lightgbm",
        {
            "extra_trees": True,
            "learning_rate": 0.08,
            "num_leaves": 128,
            "min_data_in_leaf": 10,
            "feature_fraction": 0.9,
            "lambda_l2": 1.0,
        },
    ),
    (
        "xgboost",
        {"eta": 0.04, "max_depth": 10, "min_child_weight": 10, "subsample": 0.8, "colsample_bynode": 0.6},
    ),
    (
        "lightgbm",
        {
            "learning_rate": 0.03,
            "num_leaves": 160,
            "min_data_in_leaf": 20,
            "feature_fraction": 0.6,
            "lambda_l2": 5.0,
        },
    ),
    ("extra_trees", {"min_samples_leaf": 5, "max_features": 0.6}),
)


def plan_for(rows: int, classes: int = 0) -> Plan:
    """The fixed settings for a table of so many training rows, and classes (0: regression)."""
    plan = SMALL if rows < LARGE_ROWS else LARGE
    if not classes:
        return plan
    # Perpetual's probabilities are poor on few rows, and it trains one model a class
    fit = [(k, p) for k, p in plan if k != "perpetual" or (rows >= LARGE_ROWS and classes == 2)]
    return tuple((k, _FOR_CLASSES[k](p) if k in _FOR_CLASSES else p) for k, p in fit)


def _xgboost_classes(params: dict[str, Any]) -> dict[str, Any]:
    """The least weight of a child counts p (1 - p) for a row then, at most a quarter."""
    return {**params, "min_child_weight": params.get("min_child_weight", 1) / 4}


def _extra_trees_classes(params: dict[str, Any]) -> dict[str, Any]:
    """Fewer columns a split: trees that differ more, hence better probabilities."""
    return {**params, "max_features": round(params["max_features"] * 0.3, 2)}


_FOR_CLASSES = {"xgboost": _xgboost_classes, "extra_trees": _extra_trees_classes}
