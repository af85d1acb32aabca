"""Forests as they are stored: only their trees, from which scikit-learn's own objects are made again.

skops describes every tree's estimator with all its settings: seconds for hundreds of trees, and nothing that a
prediction reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def bare(forest: Any) -> dict[str, Any]:
    """What a fitted `ExtraTreesRegressor` or `ExtraTreesClassifier` of one output predicts by."""
    classes = getattr(forest, "classes_", None)
    return {
        "classes": classes,
        "features": int(forest.n_features_in_),
        "trees": [e.tree_ for e in forest.estimators_],
    }


def is_bare(stored: Any) -> bool:
    """Whether a stored part is such a forest; a single estimator, as any else is kept, is none."""
    return isinstance(stored, Mapping)


def whole(stored: Mapping[str, Any]) -> Any:
    """The forest again: it predicts, and can't be fitted further."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
    from sklearn.tree import ExtraTreeClassifier, ExtraTreeRegressor

    classes = stored["classes"]
    forest = (ExtraTreesRegressor if classes is None else ExtraTreesClassifier)(len(stored["trees"]))
    forest.estimators_ = []
    for tree in stored["trees"]:
        one = ExtraTreeRegressor() if classes is None else ExtraTreeClassifier()
        one.tree_ = tree
        forest.estimators_.append(one)
    for fitted in (forest, *forest.estimators_):
        fitted.n_outputs_, fitted.n_features_in_ = 1, stored["features"]
        if classes is not None:
            fitted.classes_, fitted.n_classes_ = classes, len(classes)
    return forest
