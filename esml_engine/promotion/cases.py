"""From the store to a case: which versions, rows and rules a comparison or a promotion is about, as of now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from esml_engine.door.site import Site
from esml_engine.errors import NotFoundError, RefusedError, UsageError
from esml_engine.lake.catalogue import get, judged_versions, latest, passed
from esml_engine.promotion.facts import Case, Side
from esml_engine.refs import ModelRef
from esml_engine.training import records as models
from esml_engine.training.behind import trained_in
from esml_engine.training.facts import PRIMARY_METRIC, TASK_METRICS


def next_env(site: Site, env: str) -> str | None:
    """The environment after this one, on the way that the estate has; None at its end."""
    way = site.settings.environments
    place = way.index(env) + 1
    return way[place] if place < len(way) else None


def check_way(site: Site, source: str, target: str) -> None:
    """Raise unless a promotion may go from source to target.

    Raises:
        RefusedError: the estate has no next environment, or one would be skipped.
    """
    way = site.settings.environments
    if len(way) == 1:
        raise RefusedError(
            f"the estate has {way[0]} alone: there is no next environment to promote to",
            hint="add [environments.test] to estate.toml",
        )
    site.settings.check_env(source)
    site.settings.check_env(target)
    wanted = next_env(site, source)
    if wanted != target:
        said = f"after {source} comes {wanted}" if wanted else f"{source} is the last environment"
        skipped = wanted is not None and way.index(target) > way.index(wanted)
        raise RefusedError(
            f"a promotion from {source} to {target} is not on the way {' → '.join(way)}: {said}",
            hint=f"promote to {wanted} first" if skipped
            else f"it goes up alone: esml rollback changes the champion of {target}",
        )  # fmt: skip


def check_pair(site: Site, source: str, target: str) -> None:
    """Raise unless versions of these two environments can be compared."""
    if not source:
        raise UsageError("compare from where?", hint="name the source: --from dev")
    site.settings.check_env(source)
    site.settings.check_env(target)
    if source == target:
        raise UsageError(
            f"{source} and {target} are one environment", hint="the leaderboard compares within one"
        )


class Ground:
    """What cases of one model stand on as of now, each part read once: settings, champions, rows to compare on."""

    def __init__(self, site: Site, ref: ModelRef) -> None:
        self.site, self.ref, self.settings = site, ref, site.settings
        self._ways: dict[tuple[str, str], dict[str, Any]] = {}

    def case(self, source: str, target: str, version: dict[str, Any]) -> Case:
        """A challenger, by its row, against the champion of `target`."""
        if (source, target) not in self._ways:
            self._ways[source, target] = self._way(source, target)
        return Case(challenger=_side(version), **self._ways[source, target])

    def _way(self, source: str, target: str) -> dict[str, Any]:
        site, ref, settings = self.site, self.ref, self.settings
        model = settings.model(ref)
        row = models.champion(site.store, ref, target)
        champion = _side(models.get_version(site.store, ref, target, row["version"])) if row else None
        policy, origin = settings.policy(ref, target)
        test, train = _rows(site, ref, target)
        if test is None and policy.evidence == "source":
            test, train = _rows(site, ref, source)
        metric = settings.profile(ref, target).metric
        primary = metric if metric in TASK_METRICS.get(model.task, ()) else PRIMARY_METRIC.get(model.task, "")
        thresholds = {
            k: v for k, v in model.gates.model_dump().items() if v is not None and v != {} and v != []
        }
        if champion is not None and not thresholds.get("min_gain"):
            thresholds["min_gain"] = {primary: 0.0}
        return {
            "object": str(ref), "source": source, "target": target, "task": model.task, "label": model.label, "key": model.key,
            "champion": champion,
            "revision": int(row["revision"]) if row else 0, "test": test, "train": train, "thresholds": thresholds,
            "primary": primary,
            "policy": policy.model_dump(mode="json"), "origin": dict(origin),
        }  # fmt: skip


def case_of(site: Site, ref: ModelRef, source: str, target: str, version: int | None = None) -> Case:
    """Who stands against whom right now; `version` None: the source's champion.

    Raises:
        NotFoundError: the source has no such version.
    """
    challenger = models.get_version(site.store, ref, source, version)
    return Ground(site, ref).case(source, target, challenger)


Look = Callable[[str, str, int], tuple[bool, bool] | None]


def looked_up(site: Site, ref: ModelRef) -> Look:
    """(env, table, version) -> (its expectations passed, it comes from R&D mode), one query each; None: not there."""

    def look(env: str, name: str, version: int) -> tuple[bool, bool] | None:
        try:
            found = get(site.store, ref, env, name, version)
        except NotFoundError:
            return None
        return passed(found.quality), found.rnd

    return look


def all_looked_up(site: Site, ref: ModelRef) -> Look:
    """The same for many versions: all table versions of an environment in one query."""
    known: dict[str, dict[tuple[str, int], tuple[bool, bool]]] = {}

    def look(env: str, name: str, version: int) -> tuple[bool, bool] | None:
        if env not in known:
            known[env] = judged_versions(site.store, ref, env, "gold")
        return known[env].get((name, version))

    return look


def expectations_of(side: Side, look: Look) -> bool | None:
    """Whether the expectations of the gold version that a model was trained on passed; None: not known."""
    number = side.data_version("gold")
    found = look(side.trained_in, "gold", number) if number is not None else None
    return found[0] if found else None


def rnd_of(side: Side, look: Look) -> bool | None:
    """Whether a version comes from R&D mode, by its own row and by the tables behind it; None: not known."""
    if side.rnd is not False:
        return side.rnd
    for d in side.data:
        found = look(side.trained_in, d["table"], int(d["version"]))
        if found is None or found[1]:
            return None if found is None else True
    return False


def _side(row: dict[str, Any]) -> Side:
    detail = row["detail"] or {}
    known = detail.get("signature")
    keep = [{"table": i["table"], "version": i["version"]} for i in row["inputs"] if "table" in i]
    return Side(
        version=int(row["version"]),
        env=row["env"],
        trained_in=trained_in(row),
        run=row["run"],
        sha256=row["sha256"],
        folder=row["folder"],
        task=row["task"],
        estimator=row["estimator"],
        rnd=row["rnd"] if isinstance(row["rnd"], bool) else None,
        signature=tuple(known) if known is not None else None,
        data=tuple(keep),
        at=row["at"],
        by=row["by"],
    )


def _rows(site: Site, ref: ModelRef, env: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """gold_test and gold_train of an environment, the siblings that belong together."""
    head = latest(site.store, ref, env, "gold_train")
    number = head.siblings.get("gold_test") if head else None
    if head is None or number is None:
        return None, None
    test = get(site.store, ref, env, "gold_test", number)
    return (
        {"env": env, "version": test.version, "rows": test.rows},
        {
            "env": env,
            "version": head.version,
            "rows": head.rows,
            "validate": head.siblings.get("gold_validate"),
        },
    )
