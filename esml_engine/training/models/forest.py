"""Many trees as flat arrays, walked side by side: microseconds a row, where a library's own call costs milliseconds.

For single rows only; for many rows the libraries' own predictors are faster. The numbers are the libraries' own:
the same comparisons on the same precision, hence the same leaves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.training.models.learners import XGBOOST

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Tree:
    """One tree as arrays over its nodes; a leaf's children are -1. `value` is (nodes,), or (nodes, k) of k classes."""

    feature: NDArray[Any]
    threshold: NDArray[Any]
    left: NDArray[Any]
    right: NDArray[Any]
    value: NDArray[Any]
    missing_right: NDArray[Any] | None = None


class Forest:
    """Trees of one or several models (`groups`: trees of each), all walked at once for one row."""

    def __init__(self, groups: Sequence[Sequence[Tree]], *, right_when_equal: bool) -> None:
        trees = [t for g in groups for t in g]
        sizes = [len(t.feature) for t in trees]
        start = np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(np.intp)
        shift = np.repeat(start, sizes)
        own = np.arange(sum(sizes), dtype=np.intp)
        left = np.concatenate([t.left for t in trees]).astype(np.intp)
        right = np.concatenate([t.right for t in trees]).astype(np.intp)
        leaf = left < 0
        self.feature: Ints = np.where(leaf, 0, np.concatenate([t.feature for t in trees])).astype(np.intp)
        self.threshold = np.concatenate([t.threshold for t in trees])
        self.value = np.concatenate([t.value for t in trees])
        # a leaf leads to itself, so that all trees can take the same number of steps
        left, right = np.where(leaf, own, left + shift), np.where(leaf, own, right + shift)
        self.child: Ints = np.column_stack([left, right]).ravel()
        gaps = [t.missing_right for t in trees]
        self.missing_right = None
        if all(g is not None for g in gaps):
            self.missing_right = np.concatenate([g for g in gaps if g is not None]).astype(bool)
        self.roots: Ints = start
        self.right_when_equal = right_when_equal
        self.groups = np.array([len(g) for g in groups])
        self._first = np.cumsum(self.groups) - self.groups
        self.depth = self._depth(leaf, left, right)

    def _depth(self, leaf: NDArray[np.bool_], left: Ints, right: Ints) -> int:
        level, depth = self.roots, 0
        while True:
            level = level[~leaf[level]]
            if not len(level):
                return depth
            level, depth = np.concatenate([left[level], right[level]]), depth + 1

    def leaves(self, row: NDArray[Any]) -> NDArray[Any]:
        """Value of the leaf that `row` (f,) reaches in each tree, in tree order: (trees,) or (trees, k)."""
        node = self.roots
        gap = np.isnan(row)
        holes = bool(gap.any()) and self.missing_right is not None
        for _ in range(self.depth):
            at = self.feature.take(node)
            value = row.take(at)
            bound = self.threshold.take(node)
            right = value >= bound if self.right_when_equal else value > bound
            if holes and self.missing_right is not None:
                right = np.where(gap.take(at), self.missing_right.take(node), right)
            node = self.child.take(2 * node + right)
        return self.value.take(node, axis=0)

    def sums(self, row: NDArray[Any]) -> NDArray[Any]:
        """The leaves' sum in each group, none of which is empty: (groups,) or (groups, k)."""
        total: NDArray[Any] = np.add.reduceat(self.leaves(row), self._first, axis=0)
        return total


def extra_trees_forest(models: Sequence[Any]) -> Forest:
    """The forest of fitted scikit-learn ensembles; scikit-learn goes left where x <= threshold.

    Regression trees have one value a leaf, classification trees the shares of the classes that the ensemble knows.
    """
    groups = []
    for model in models:
        trees = []
        many = hasattr(model, "classes_")
        for one in model.estimators_:
            t = one.tree_
            value = t.value[:, 0, :] if many else t.value[:, 0, 0]
            trees.append(Tree(t.feature, t.threshold, t.children_left, t.children_right, value))
        groups.append(trees)
    return Forest(groups, right_when_equal=False)


def lightgbm_forest(boosters: Sequence[Any], scores: int = 1) -> Forest:
    """The forest of LightGBM boosters without categories; LightGBM goes left where x <= threshold.

    A group is one score of one booster: with many classes there are `scores` a booster, its trees in turn.

    Read from the model's text (LightGBM's documented format, version v4). Where training saw no gap in a feature,
    LightGBM takes 0 for NaN.
    """
    groups = []
    for booster in boosters:
        blocks = booster.model_to_string(num_iteration=-1).split("\nTree=")[1:]
        trees = [_lightgbm_tree(dict(_pairs(b))) for b in blocks]
        groups += [trees[i::scores] for i in range(scores)]
    return Forest(groups, right_when_equal=False)


def _pairs(block: str) -> list[tuple[str, str]]:
    lines = block.split("\n\n", 1)[0].splitlines()
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def _lightgbm_tree(raw: dict[str, str]) -> Tree:
    leaves = np.array(raw["leaf_value"].split(), dtype=np.float64)
    end = np.full(len(leaves), -1)
    if len(leaves) == 1:
        return Tree(end, leaves, end, end, leaves, np.zeros(1, dtype=bool))
    feature, left, right, decision = (
        np.array(raw[k].split(), dtype=np.int64)
        for k in ("split_feature", "left_child", "right_child", "decision_type")
    )
    if (decision & 1).any() or raw.get("is_linear", "0") != "0":
        raise ValueError("a tree with categories or linear leaves can't be walked here")
    bound = np.array(raw["threshold"].split(), dtype=np.float64)
    inner = len(feature)
    left, right = (np.where(c < 0, inner + ~c, c) for c in (left, right))
    gaps_known = (decision >> 2) & 3 == 2
    away = np.where(gaps_known, (decision & 2) == 0, bound < 0)
    zeros = np.zeros(len(leaves))
    return Tree(
        np.concatenate([feature, end]),
        np.concatenate([bound, zeros]),
        np.concatenate([left, end]),
        np.concatenate([right, end]),
        np.concatenate([np.zeros(inner), leaves]),
        np.concatenate([away, np.zeros(len(leaves), dtype=bool)]),
    )


class XgboostForest:
    """The forest of XGBoost boosters; XGBoost goes left where x < threshold, all in 32 bits.

    Args:
        scores: scores a booster: 1, or the number of classes where there are more than two.
        logistic: two classes; the base score is a probability then.
    """

    def __init__(self, boosters: Sequence[Any], scores: int = 1, logistic: bool = False) -> None:
        groups: list[list[Tree]] = []
        base: list[float] = []
        for booster in boosters:
            with XGBOOST:
                raw = bytes(booster.save_raw("json"))
            learner = json.loads(raw)["learner"]
            base += json.loads(learner["learner_model_param"]["base_score"])
            model = learner["gradient_booster"]["model"]
            trees = [_xgboost_tree(t) for t in model["trees"]]
            groups += [
                [t for t, own in zip(trees, model["tree_info"], strict=True) if own == i]
                for i in range(scores)
            ]
        self.base = np.array(base, dtype=np.float32)
        if logistic:
            self.base = -np.log(1 / self.base - 1)
        self.forest = Forest([g for g in groups if g], right_when_equal=True)
        sizes = [len(g) for g in groups]
        # leaf values are added in tree order and in 32 bits, as XGBoost does: one padded line a booster
        self._sums = np.zeros((len(groups), max(sizes) + 1), dtype=np.float32)
        self._places = (
            np.concatenate([np.arange(s) + i * self._sums.shape[1] for i, s in enumerate(sizes)]) + 1
        )

    def mean(self, row: NDArray[np.float32]) -> float:
        """Mean over the boosters of their prediction for `row` (f,)."""
        return float(self.sums(row).astype(np.float64).mean())

    def sums(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores (boosters × scores,) of `row` (f,)."""
        lines = self._sums.copy()
        lines[:, 0] = self.base
        lines.ravel()[self._places] = self.forest.leaves(row)
        totals: NDArray[np.float32] = np.add.accumulate(lines, axis=1)[:, -1]
        return totals


def _xgboost_tree(raw: dict[str, Any]) -> Tree:
    left = np.array(raw["left_children"])
    condition = np.array(raw["split_conditions"], dtype=np.float32)  # for a leaf: its value
    away = np.array(raw["default_left"]) == 0
    return Tree(
        np.array(raw["split_indices"]), condition, left, np.array(raw["right_children"]), condition, away
    )
