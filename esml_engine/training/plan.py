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


def plan_for(rows: int) -> Plan:
    """The fixed settings for a table of so many training rows."""
    return SMALL if rows < LARGE_ROWS else LARGE
