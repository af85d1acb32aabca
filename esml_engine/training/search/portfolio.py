"""The embedded AutoML: a portfolio of fixed settings, bagged over folds, blended by held-out predictions.

Folds are the outer loop, so the search can stop at any time and keep what it has. The first fold screens: it may
take 40 % of the time; then those that fit into the rest go on, the better first. When time is left after all
fixed settings, new ones are drawn around the best families (`proposals.propose`). When `trials` ends the search
before the clock does, everything follows from rows and seed alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from esml_engine.errors import FailedError, NotYetError, UsageError
from esml_engine.training.causes import cause
from esml_engine.training.facts import Profile, Trial
from esml_engine.training.measuring.metrics import loss_function
from esml_engine.training.models import learners
from esml_engine.training.models.class_model import EnsembleClassifier
from esml_engine.training.models.classes import Classes, classes_of
from esml_engine.training.models.labels import known_rows
from esml_engine.training.models.model import EnsembleModel, Matrices, Member
from esml_engine.training.models.preparing import (
    Encoder,
    Preparing,
    fit_preparing,
)
from esml_engine.training.models.signature import example_of_columns
from esml_engine.training.search.blending import greedy_weights
from esml_engine.training.search.plan import plan_for
from esml_engine.training.search.proposals import propose

Floats = NDArray[np.float64]
Progress = Callable[[float, str], None]
OnTrial = Callable[[Trial], None]

_RESERVE = 0.06  # of the seconds: storing and judging what was found
_SCREEN = 0.4
_ONE_FIT = 0.25
# how much worse in the first fold a setting may be to get more time: a drawn one, a fixed one when time is short
_WORTH_FOLDS = 0.05
_WORTH_TIME = 0.25


@dataclass(frozen=True)
class Search:
    """What a search found. `members` stand beside `trials`, one each; weights of members sum to 1.

    `failures`: estimators that raised, with the reason; they take no part.
    """

    trials: tuple[Trial, ...]
    members: tuple[Member, ...]
    preparing: Preparing
    label: str
    example: dict[str, Any]
    seconds: float
    failures: tuple[dict[str, str], ...] = ()
    classes: Classes = field(default_factory=Classes)

    def model(self) -> EnsembleModel:
        """The blend: members with a weight above zero."""
        return self._model([m for m in self.members if m.weight > 0])

    def best_of_families(self) -> dict[str, EnsembleModel]:
        """For each estimator its trial with the lowest validation loss, as a model of its own."""
        most = max(t.folds for t in self.trials)
        best: dict[str, tuple[tuple[bool, float], Member]] = {}
        for trial, member in zip(self.trials, self.members, strict=True):
            # one that was given up after the first fold stands behind those that were carried on
            rank = (2 * trial.folds < most, math.inf if trial.loss is None else trial.loss)
            if trial.estimator not in best or rank < best[trial.estimator][0]:
                best[trial.estimator] = (rank, member)
        return {kind: self._model([replace(m, weight=1.0)]) for kind, (_, m) in best.items()}

    def _model(self, members: list[Member]) -> EnsembleModel:
        if self.classes:
            return EnsembleClassifier(members, self.preparing, self.label, self.example, self.classes)
        return EnsembleModel(members, self.preparing, self.label, self.example)


@dataclass
class _Candidate:
    kind: str
    params: dict[str, Any]
    held_out: Floats
    parts: list[Any] = field(default_factory=list)
    seconds: float = 0.0
    screened: float = float("inf")
    active: bool = True
    failure: str = ""


def ordering(y: NDArray[Any], classes: Classes) -> Floats:
    """Labels as what orders categories: numbers, the place of one of two classes, indicators (n, k) of more."""
    return np.eye(len(classes))[y] if len(classes) > 2 else y.astype(np.float64)


def search(
    train: pa.Table,
    validate: pa.Table | None,
    *,
    label: str,
    leave_out: Iterable[str] = (),
    profile: Profile,
    task: str = "regression",
    progress: Progress = lambda fraction, message: None,
    on_trial: OnTrial = lambda trial: None,
) -> Search:
    """Fit the portfolio within the profile's seconds and trials.

    Args:
        train: rows to learn from, folded.
        validate: rows for choosing: each trial's loss, and a say in the weights. None or empty: out-of-fold
            predictions take its place.
        label: name of the label column; rows without a label are left out.
        leave_out: columns that are no features (the key, ignored ones).
        progress: called with a fraction (0 to 1) and a message.
        on_trial: called once a trial, when it is over.

    Raises:
        NotYetError: another task than regression and classification.
        UsageError: the label or the features can't be used.
        FailedError: no estimator could be fitted.
    """
    if task not in ("regression", "classification"):
        raise NotYetError(f"automl for task '{task}' is not built yet")
    learners.load_libraries()
    begun = time.monotonic()
    both = [train, validate] if validate is not None and profile.learn_from_validate else [train]
    classes = classes_of(both, label) if task == "classification" else Classes()
    train, y = known_rows(train, label, classes)
    if len(y) < 4:
        raise UsageError(f"{len(y)} training rows are too few to learn from")
    held: tuple[pa.Table, NDArray[Any]] | None = None
    if validate is not None and validate.num_rows:
        held = known_rows(validate, label, classes)
    own = np.zeros(len(y), dtype=bool)  # rows of gold_validate that take part in the folds
    if held is not None and profile.learn_from_validate:
        train = pa.concat_tables(
            [train.select(train.column_names), held[0].select(train.column_names)],
            promote_options="permissive",
        )
        own = np.concatenate([own, np.ones(len(held[1]), dtype=bool)])
        y, held = np.concatenate([y, held[1]]), None
    preparing = fit_preparing(train, ordering(y, classes), leave_out={label, *leave_out})
    run = _Run(train, y, held, own, preparing, profile, begun, progress, on_trial, classes)
    run.go()
    return run.result(label, example_of_columns(train, [c.name for c in preparing.columns]))


def folds_of(places: NDArray[Any] | None, rows: int, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold (n,) of each row, at random; each class, where places are given, spread over all folds evenly."""
    order = np.random.default_rng(seed).permutation(rows)
    if places is None:
        return order % folds
    order = order[np.argsort(places[order], kind="stable")]
    fold_of = np.empty(rows, dtype=np.int64)
    fold_of[order] = np.arange(rows) % folds
    return fold_of


class _Run:
    """One search's state."""

    def __init__(
        self,
        train: pa.Table,
        y: NDArray[Any],
        held: tuple[pa.Table, NDArray[Any]] | None,
        own: NDArray[np.bool_],
        preparing: Preparing,
        profile: Profile,
        begun: float,
        progress: Progress,
        on_trial: OnTrial,
        classes: Classes,
    ) -> None:
        self.classes = classes
        self.y, self.own, self.preparing, self.profile = y, own, preparing, profile
        self.begun, self.progress, self.on_trial = begun, progress, on_trial
        self.stop = begun + profile.seconds * (1 - _RESERVE)
        encoder = Encoder(preparing)
        self.rows = Matrices(encoder, encoder.codes(train))
        self.held = None if held is None else (Matrices(encoder, encoder.codes(held[0])), held[1])
        self.folds = min(profile.folds, len(y))
        self.fold_of = folds_of(y if classes else None, len(y), self.folds, profile.seed)
        self.threads = learners.threads_for(len(y))
        task = "classification" if classes else "regression"
        self.loss = loss_function(profile.metric_for(task))
        # steps (accuracy) and ranks (AUC) are coarse on few rows: classes are screened and weighed by log loss
        self.guide = loss_function("log_loss") if classes else self.loss
        plan = [(k, p) for k, p in plan_for(len(y), len(classes)) if k in profile.estimators]
        plan = plan[: profile.trials]
        if not plan:
            raise UsageError(
                f"{', '.join(profile.estimators)} can't learn {len(y)} rows of {len(classes)} classes",
                hint="allow lightgbm, xgboost, extra_trees or linear, and train anew: a retry keeps its profile",
            )
        self.candidates = [self._new(k, p) for k, p in plan]
        self.fits = 0

    def _new(self, kind: str, params: dict[str, Any]) -> _Candidate:
        k = len(self.classes)
        return _Candidate(kind, params, np.full((len(self.y), k) if k else len(self.y), np.nan))

    def go(self) -> None:
        """Screen, go on with what fits, then look further while trials and time are left."""
        screen = self.begun + self.profile.seconds * _SCREEN
        for c in self.candidates:
            if any(o.parts for o in self.candidates) and time.monotonic() >= screen:
                c.active = False
                continue
            self._fit(c, 0, min(screen, time.monotonic() + self.profile.seconds * _ONE_FIT))
            c.screened = self._loss_in_fold(c, 0)
        self._choose()
        for fold in range(1, self.folds):
            for c in self._active():
                if not self._time_for(c.seconds / len(c.parts)):
                    continue  # a cheaper one may still fit
                self._fit(c, fold, self._until(c.seconds / len(c.parts)))
        self._look_further()

    def _active(self) -> list[_Candidate]:
        return [c for c in self.candidates if c.active and c.parts and not c.failure]

    def _choose(self) -> None:
        """Keep the best by the first fold as far as their further folds fit into the time; always the very best."""
        left = (self.stop - time.monotonic()) * 0.9
        ranked = sorted(self._active(), key=lambda c: c.screened)
        more = self.folds - 1
        if not ranked or sum(c.seconds for c in ranked) * more <= left:
            return
        for i, c in enumerate(ranked):
            best = ranked[0].screened
            hopeful = c.screened <= best + _WORTH_TIME * abs(best)
            c.active = i == 0 or (hopeful and c.seconds * more <= left)
            left -= c.seconds * more if c.active else 0

    def _look_further(self) -> None:
        rng = np.random.default_rng([self.profile.seed, 77])
        while len(self.candidates) < self.profile.trials:
            done = [c for c in self._active() if len(c.parts) == self.folds]
            cost = {k: max(c.seconds for c in done if c.kind == k) for k in {c.kind for c in done}}
            # near the end only what is quick enough is still drawn
            fits = [c for c in done if self._time_for(cost[c.kind])]
            proposed = propose(rng, [(c.kind, c.params, c.screened) for c in fits])
            if proposed is None:
                return
            kind, params = proposed
            expected = cost[kind] / self.folds
            c = self._new(kind, params)
            self.candidates.append(c)
            best = min(o.screened for o in done)
            self._fit(c, 0, self._until(expected))
            c.screened = self._loss_in_fold(c, 0)
            c.active = c.screened <= best + _WORTH_FOLDS * abs(best)
            for fold in range(1, self.folds if c.active and not c.failure else 0):
                if not self._time_for(expected):
                    return
                self._fit(c, fold, self._until(expected))

    def _until(self, expected: float) -> float:
        """When a fit that should take `expected` seconds is cut: late, lest a busy machine changes the result."""
        now = time.monotonic()
        return min(self.stop, now + max(1.0 + 4 * expected, _ONE_FIT * (self.stop - now)))

    def _time_for(self, seconds: float) -> bool:
        return time.monotonic() + seconds < self.stop

    def _fit(self, c: _Candidate, fold: int, until: float) -> None:
        out = self.fold_of == fold
        x = self.rows.of(c.kind)
        k = len(self.classes)
        rows = learners.Fold(x[~out], self.y[~out], x[out], self.y[out], k)
        limits = learners.Limits(until, self.threads, self.profile.seed * 1_000 + fold)
        at = time.monotonic()
        try:
            part = learners.fit(c.kind, c.params, rows, limits)
            predicted = learners.predict(c.kind, part, rows.x_out, self.threads, k)
            if not np.isfinite(predicted).all():
                raise FailedError("its predictions are not finite")
        except Exception as e:  # noqa: BLE001 - one estimator that can't cope must not end the search; its reason is reported
            c.failure = cause(e)
            return
        finally:
            c.seconds += time.monotonic() - at
        c.parts.append(part)
        c.held_out[out] = predicted
        self.fits += 1
        planned = max(self.profile.trials, len(self.candidates)) * self.folds
        clock = (time.monotonic() - self.begun) / self.profile.seconds
        self.progress(
            min(0.95, max(self.fits / planned, clock)), f"fold {fold + 1} of {self.folds}: {c.kind}"
        )

    def _loss_in_fold(self, c: _Candidate, fold: int) -> float:
        if c.failure:
            return float("inf")
        out = self.fold_of == fold
        return self.guide(self.y[out], c.held_out[out])

    def result(self, label: str, example: dict[str, Any]) -> Search:
        """Weigh the candidates and report every trial."""
        tried = [c for c in self.candidates if c.parts and not c.failure]
        failures = tuple({"estimator": c.kind, "reason": c.failure} for c in self.candidates if c.failure)
        if not tried:
            said = (
                "; ".join(f"{f['estimator']}: {f['reason']}" for f in failures) or "no time for a single fit"
            )
            raise FailedError(
                f"no estimator could be fitted ({said})",
                hint="a retry keeps this run's profile: change seconds or estimators in [train.ENV] of model.toml and train anew",
            )
        members = [Member(c.kind, c.params, tuple(c.parts), classes=len(self.classes)) for c in tried]
        on_held = [] if self.held is None else [m.predict(self.held[0], self.threads) for m in members]
        most = max(len(c.parts) for c in tried if c.active) if any(c.active for c in tried) else 1
        # a candidate that stands one fold behind when the clock ran out still counts
        voters = [i for i, c in enumerate(tried) if c.active and len(c.parts) >= max(1, most - 1)] or list(
            range(len(tried))
        )
        common = min(len(tried[i].parts) for i in voters)
        seen = self.fold_of < common
        predictions, y = np.array([tried[i].held_out[seen] for i in voters]), self.y[seen]
        if self.held is not None:
            predictions = np.concatenate([predictions, np.array([on_held[i] for i in voters])], axis=1)
            y = np.concatenate([y, self.held[1]])
        given = greedy_weights(predictions, y, self.guide, self.profile.seed)
        weights = dict(zip(voters, given.tolist(), strict=True))
        trials = []
        for i, c in enumerate(tried):
            trial = Trial(
                c.kind,
                c.params,
                self._validation_loss(c, on_held[i] if on_held else None),
                c.seconds,
                len(c.parts),
            )
            trials.append(trial)
            self.on_trial(trial)
        weighted = tuple(replace(m, weight=weights.get(i, 0.0)) for i, m in enumerate(members))
        spent = time.monotonic() - self.begun
        self.progress(1.0, f"{len(trials)} trials")
        return Search(tuple(trials), weighted, self.preparing, label, example, spent, failures, self.classes)

    def _validation_loss(self, c: _Candidate, on_held: Floats | None) -> float | None:
        if self.held is not None and on_held is not None:
            value = self.loss(self.held[1], on_held)
        else:
            fitted = np.isfinite(c.held_out if not self.classes else c.held_out[:, 0])
            rows = fitted & (self.own if self.own.any() else True)
            value = self.loss(self.y[rows], c.held_out[rows]) if rows.any() else float("inf")
        return value if np.isfinite(value) else None
