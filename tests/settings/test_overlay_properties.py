"""What holds for any files and any sequence of sets: a table is its leaves, what is told is in force, what was accepted counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from esml_engine.errors import SettingsError
from esml_engine.refs import ENVIRONMENTS, ModelRef
from esml_engine.settings import Files, Override, PolicySettings, Settings, words

REF = ModelRef("p1", "m1")
SCOPES = ("estate", "p1", "p1/m1")
BASE: dict[str, dict[str, Any]] = {
    "estate": {"name": "e", "environments": {e: {} for e in ENVIRONMENTS}},
    "p1": {"team": "t"},
    "p1/m1": {"task": "regression", "datasets": {"d1": {}}},
}
SHARES = [(0.6, 0.2, 0.2), (0.5, 0.25, 0.25), (0.7, 0.1, 0.2), (0.7, 0.2, 0.1), (0.5, 0.3, 0.2)]


def table(**keys: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


NUMBER, COUNT = st.sampled_from([0.5, 1.0, 2.5]), st.integers(2, 5)
LIMITS = {
    "max_cost_run": NUMBER,
    "approvals": COUNT,
    "over": st.sampled_from(["ask", "refuse"]),
    "nodes": st.just([]) | st.just(["a", "b"]),
}
POLICY = table(**LIMITS, test=table(**LIMITS), prod=table(**LIMITS))
METRICS = table(rmse=NUMBER, r2=NUMBER)
GATES = {"min_gain": METRICS, "floor": table(r2=NUMBER), "interval": st.just([]) | st.just(["r2"])}
PROFILE = {"trials": COUNT, "folds": COUNT, "metric": st.sampled_from(["", "mae"])}
BESIDE = {"seed": COUNT, "stratify": st.booleans()}
FRACTIONS = st.sampled_from(SHARES).map(lambda s: dict(zip(("train", "validate", "test"), s, strict=True)))
PART = FRACTIONS.flatmap(
    lambda s: st.sets(st.sampled_from(sorted(s))).map(lambda keys: {k: s[k] for k in keys})
)
PLAIN = {"train": table(dev=table(**PROFILE)), "gates": table(**GATES), "split": table(**BESIDE)}
WHOLE = {**PLAIN, "split": st.tuples(FRACTIONS, table(**BESIDE)).map(lambda two: two[0] | two[1])}

POLICY_SETS = {"policy": POLICY, "policy.prod": table(**LIMITS), "policy.prod.approvals": COUNT, "policy.max_cost_run": NUMBER}  # fmt: skip
OWN_SETS = {
    **PLAIN,
    "split.seed": COUNT,
    "train.dev": table(**PROFILE),
    "train.dev.trials": COUNT,
    "gates.min_gain": METRICS,
    "gates.min_gain.rmse": NUMBER,
    "gates.interval": GATES["interval"],
}


def one_of(scope: str, sets: dict[str, Any]) -> st.SearchStrategy[tuple[str, str, Any]]:
    return st.sampled_from(sorted(sets)).flatmap(lambda k: st.tuples(st.just(scope), st.just(k), sets[k]))


def steps(own: dict[str, Any], files: dict[str, Any]) -> st.SearchStrategy[list[tuple[str, str, Any]]]:
    """Sets, and edits of a file (an empty key: what the file then says)."""
    sets = [*(one_of(s, POLICY_SETS) for s in SCOPES), one_of("p1/m1", own)]
    edits = [st.tuples(st.just(s), st.just(""), table(policy=POLICY)) for s in SCOPES[:2]]
    edits.append(st.tuples(st.just("p1/m1"), st.just(""), table(policy=POLICY, **files)))
    return st.lists(st.one_of(*sets, *sets[-1:], *sets[-1:], *edits), min_size=1, max_size=12)


def flat(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for k, v in value.items():
            yield from flat(v, (*path, k))
    else:
        yield path, value


def at(raw: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


class Estate:
    """Files and kept overrides, as the store keeps them: one row a scope and key, the first kept first."""

    def __init__(self) -> None:
        self.files = {s: dict(BASE[s]) for s in SCOPES}
        self.rows: dict[tuple[str, str], Override] = {}
        self.said: list[tuple[str, tuple[str, ...], Any, Any]] = []  # scope, leaf, value, replaced
        self.turn = 0

    def settings(self) -> Settings:
        files = Files(Path(), self.files["estate"], {"p1": self.files["p1"]}, {REF: self.files["p1/m1"]})
        return Settings(files, tuple(self.rows.values()))

    def edit(self, scope: str, says: dict[str, Any]) -> None:
        self.files[scope] = {**BASE[scope], **says}

    def set(self, scope: str, key: str, value: Any) -> None:
        """As the act does. Raises what it is refused by."""
        asked = self.settings().check_override(scope, key, toml(value))
        assert asked.value == value
        self.turn += 1
        whole = Override(scope, key, asked.value, asked.replaced, f"u{self.turn}", f"{self.turn:06}")
        for path, leaf in words(whole):
            self.rows[(scope, leaf.key)] = leaf
            self.said.append((scope, path, leaf.value, leaf.replaced))

    def counting(self, scope: str) -> list[tuple[tuple[str, ...], Any]]:
        """Leaves that were set and count, by the rule alone: not set again later, and the file says what it said then."""
        mine = [x[1:] for x in self.said if x[0] == scope]
        return [
            (path, value)
            for n, (path, value, replaced) in enumerate(mine)
            if at(self.files[scope], path) == replaced
            and not any(path[: len(later)] == later for later, _, _ in mine[n + 1 :])
        ]

    def expected(self, scope: str) -> dict[tuple[str, ...], tuple[Any, str]]:
        """What a scope says, leaf by leaf, and whether the file or an override says it."""
        out = {path: (value, "file") for path, value in flat(self.files[scope], ())}
        for path, value in self.counting(scope):
            out = {p: v for p, v in out.items() if p[: len(path)] != path and path[: len(p)] != p}
            out[path] = (value, "override")
        return out


@settings(max_examples=150, deadline=None)
@given(steps({**OWN_SETS, "split": WHOLE["split"]}, WHOLE))
def test_a_table_that_is_set_is_the_same_as_its_leaves(found: list[tuple[str, str, Any]]) -> None:
    files = {s: dict(BASE[s]) for s in SCOPES}
    whole: list[Override] = []
    each: list[Override] = []
    for n, (scope, key, value) in enumerate(found):
        if not key:
            files[scope] = {**BASE[scope], **value}
            continue
        path = tuple(key.split("."))
        who = (f"u{n}", f"{n:06}")
        whole.append(Override(scope, key, value, at(files[scope], path), *who))
        each += [
            Override(scope, ".".join(p), v, at(files[scope], p), *who)
            for p, v in reversed(list(flat(value, path)))
        ]
    read = Files(Path(), files["estate"], {"p1": files["p1"]}, {REF: files["p1/m1"]})
    one, two = Settings(read, tuple(whole)), Settings(read, tuple(each))
    for scope in SCOPES:
        assert {r.key: r for r in one.rows(scope)} == {r.key: r for r in two.rows(scope)}
        assert sorted(o.key for o in one.superseded(scope)) == sorted(o.key for o in two.superseded(scope))
    assert one.model(REF) == two.model(REF)
    assert all(one.policy(REF, env) == two.policy(REF, env) for env in ENVIRONMENTS)


@settings(max_examples=150, deadline=None)
@given(steps(OWN_SETS, PLAIN))
def test_what_is_told_is_in_force_and_says_whose_word_it_is(found: list[tuple[str, str, Any]]) -> None:
    e = Estate()
    for scope, key, value in found:
        if key:
            e.set(scope, key, value)
        else:
            e.edit(scope, value)
    now = e.settings()
    expected = {s: e.expected(s) for s in SCOPES}
    for scope in SCOPES:
        rows = {r.key: r for r in now.rows(scope)}
        for path, (value, whose) in expected[scope].items():
            if ".".join(path) not in rows:  # an empty table whose keys have built-in values
                assert value == {}
                continue
            row = rows[".".join(path)]
            assert row.value == value and (row.origin == "override") == (whose == "override"), path
            assert row.origin != "built-in"
        emptied = [p for p, v in e.counting(scope) if v == {}]
        for key, row in rows.items():
            path = tuple(key.split("."))
            if path not in expected[scope] and "(in force)" not in key:
                cleared = any(path[: len(p)] == p for p in emptied)
                assert (row.origin == "override") == cleared, key
    for path, (value, _) in expected["p1/m1"].items():
        if path[0] in PLAIN and value != {}:
            assert at(now.model(REF).model_dump(by_alias=True, mode="json"), path) == value
    rows = {r.key: r for r in now.rows("p1/m1")}
    for env in ENVIRONMENTS:
        policy, origin = now.policy(REF, env)
        for k in PolicySettings.model_fields:
            own = [e for s in SCOPES if (e := _of_scope(expected[s], env, k)) is not None]
            last = next((o for o in reversed(own) if o[1] == "override"), own[-1] if own else None)
            row = rows[f"policy.{env}.{k} (in force)"]
            assert row.value == getattr(policy, k) and row.origin == origin[k]
            assert row.origin.startswith("override") == (last is not None and last[1] == "override")
            assert row.value == last[0] if last else row.origin == "built-in"


def _of_scope(leaves: dict[tuple[str, ...], tuple[Any, str]], env: str, k: str) -> tuple[Any, str] | None:
    return leaves.get(("policy", env, k)) or leaves.get(("policy", k))


@settings(max_examples=150, deadline=None)
@given(steps({"split": PART, "split.seed": COUNT, "split.train": st.sampled_from([0.5, 0.6, 0.7])}, WHOLE))
def test_whatever_the_file_changes_settings_can_be_read_and_what_is_accepted_counts(
    found: list[tuple[str, str, Any]],
) -> None:
    e = Estate()
    for scope, key, value in found:
        if not key:
            e.edit(scope, value)
            e.settings().model(REF)
            continue
        try:
            e.set(scope, key, value)
        except SettingsError:
            continue
        rows = {r.key: r for r in e.settings().rows(scope)}
        for path, leaf in flat(value, tuple(key.split("."))):
            row = rows.get(".".join(path))
            assert row is None or (row.value, row.origin) == (leaf, "override")
