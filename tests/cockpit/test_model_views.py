"""View models of the pages Model and Lake, from facts made by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cockpit.facts.lake import LakeFacts
from cockpit.facts.model import ChampionFacts, ModelFacts, Planned, first_plan
from cockpit.views import lake as lake_view
from cockpit.views import model as model_view
from cockpit.views.promotion import Became
from esml_engine.door.facts import Call, Draft, Plan
from esml_engine.errors import NotYetError, UsageError
from esml_engine.lake.catalogue import Version
from esml_engine.lake.deliveries import InFile
from esml_engine.refining.staleness import Stale
from esml_engine.settings import ModelSettings
from tests.cockpit.test_views import NOW, _run, _version

FILE = InFile("ds", "train", "2026-11-20", "a.csv", "00", "x", 1, "2026-11-20T00:00:00+00:00")
EARLIER = "2026-11-24T09:00:00+00:00"


def _settings(task: str = "regression", *sets: str) -> ModelSettings:
    sets = sets or ("ds",)
    return ModelSettings.model_validate({"task": task, "label": "y", "datasets": {s: {"format": "csv"} for s in sets}})  # fmt: skip


def _lake(*have: Version, settings: ModelSettings | None = None, files: int = 2, waits: int = 0, refused: int = 0,
          away: bool = False, **todo: Any) -> LakeFacts:  # fmt: skip
    """One dataset's facts: how many files were delivered, wait, were refused; `todo`: what else is stale."""
    nothing: dict[str, Any] = {"bronze": [], "silver": [], "gold": False, "blocked": [], "anew": {}}
    stale = Stale(files={"ds": [FILE] * waits}, have={v.name: v for v in have}, **{**nothing, **todo})
    delivered = {} if away else {"ds": [FILE] * files}
    return LakeFacts(
        settings or _settings(), "train", stale, delivered, {"ds": [(FILE, "no header")] * refused}, away
    )


_BRONZE, _SILVER, _GOLD = (_version(name=name) for name in ("ds/bronze", "ds/silver", "gold"))
_GOLD = replace(_GOLD, inputs=({"table": "ds/silver", "version": 3},))
_SPLIT = _version(name="gold_train", version=2, inputs=({"table": "gold", "version": 3},), facts={"split": {
    "train": 0.6, "validate": 0.2, "test": 0.2}})  # fmt: skip


def test_a_side_of_the_lake_that_is_current() -> None:
    m = lake_view.matrix(_lake(_BRONZE, _SILVER, _GOLD, _SPLIT), NOW)
    assert [c.label for c in m.datasets["ds"]] == ["all read", "v3", "v3"]
    assert (m.goal, m.gold.label, m.gold.color) == ("gold", "v3", "green")
    assert m.split is not None and m.split.label == "of gold v3"
    assert (m.waiting, m.newest, m.away) == (0, "2026-11-24T10:00:00+00:00", False)


def test_a_side_of_the_lake_says_what_the_next_refinement_makes_and_what_was_kept_out() -> None:
    kept = _version(name="ds/quarantine", rows=14)
    newer = replace(_SILVER, version=4)
    m = lake_view.matrix(
        _lake(_BRONZE, newer, _GOLD, kept, waits=1, refused=1, bronze=["ds"], silver=["ds"], gold=True), NOW
    )
    assert [c.label for c in m.datasets["ds"]] == ["1 waiting", "v3 → v4", "v4 → v5"]
    assert "14 quarantined" in m.datasets["ds"][1].note and m.datasets["ds"][1].quarantine == "ds/bronze"
    assert m.gold.label == "v3 → v4" and "1 newer silver" in m.gold.note and m.waiting == 1
    m = lake_view.matrix(_lake(_BRONZE, _SILVER, _GOLD, refused=2), NOW)
    assert m.datasets["ds"][0].label == "2 files refused"


def test_a_side_of_the_lake_where_something_is_missing() -> None:
    m = lake_view.matrix(_lake(files=0, blocked=["ds"]), NOW)
    assert (m.gold.label, m.gold.note, m.newest) == ("waits", "for ds", None)
    assert m.split is not None and m.split.label == "none yet"
    m = lake_view.matrix(_lake(_BRONZE, away=True), NOW)
    assert m.away and [c.label for c in m.datasets["ds"]] == ["not reached", "v3", "none yet"]
    assert lake_view.matrix(_lake(settings=_settings("analytics")), NOW).split is None
    other = replace(_lake(_version(name="to_score"), _SPLIT), purpose="inference")
    m = lake_view.matrix(other, NOW)
    assert (m.goal, m.gold.label, m.split) == ("to_score", "v3", None)


def test_a_delivery_in_words() -> None:
    files = [{"status": "added"}, {"status": "unchanged"}, {"status": "added"}]
    assert lake_view.delivery_in_words({"files": files}) == "2 files added, 1 file unchanged"
    assert lake_view.delivery_in_words({"files": []}) == "nothing"


def _registered(version: int = 1, split: int = 2) -> dict[str, Any]:
    return {"version": version, "metrics": {"rmse": 52.9}, "baseline": {"rmse": 80.0}, "at": EARLIER,
        "inputs": [{"table": "gold", "version": 3}, {"table": "gold_train", "version": split}]}  # fmt: skip


def _champions(**versions: int) -> dict[str, dict[str, Any]]:
    return {env: {"version": v, "at": EARLIER} for env, v in versions.items()}


def _facts(lake: LakeFacts | None = None, **over: Any) -> ModelFacts:
    """Split and trained in dev, and champion there; test has none, prod is not set up."""
    its = {"env": "dev", "environments": ("dev", "test"), "after": "test", "metric": "rmse", "versions": [_registered()],
        "champions": _champions(dev=1), **over}  # fmt: skip
    return ModelFacts(lake=lake or _lake(_BRONZE, _SILVER, _GOLD, _SPLIT), **its)


def _notes(facts: ModelFacts) -> dict[str, tuple[str, str]]:
    return {name: (cell.note, cell.color) for name, cell in model_view.track(facts, NOW)}


def test_the_track_from_in_to_prod() -> None:
    assert _notes(_facts(champions=_champions(dev=1, test=1))) == {
        "IN": ("2 files, all read", "green"), "Bronze": ("v3 · 2 h", "green"), "Silver": ("v3 · 2 h", "green"),
        "Gold": ("v3 · 2 h", "green"), "Trained": ("v1 · 52.9 · 3 h", "green"), "In test": ("v1 · 3 h", "green"),
        "In prod": ("not set up", "gray"),
    }  # fmt: skip
    early = _notes(_facts(_lake(files=0), versions=[], champions={}))
    assert early["IN"] == ("no file yet", "gray")
    assert {early[n] for n in ("Bronze", "Silver", "Gold", "Trained", "In test")} == {("not yet", "gray")}


def test_the_track_says_what_is_wrong_or_due() -> None:
    two = _settings("regression", "ds", "ds02")
    kept = _version(name="ds/quarantine", rows=14)
    said = _notes(
        _facts(_lake(_BRONZE, _SILVER, _GOLD, kept, settings=two, waits=1, silver=["ds"], gold=True))
    )
    assert said["IN"] == ("1 file waiting", "orange")
    assert said["Bronze"] == ("1 of 2 datasets · v3 · 2 h · 14 quarantined", "orange")
    assert said["Gold"] == ("v3 · 2 h · a newer one is due", "orange")
    assert _notes(_facts(_lake(refused=1)))["IN"] == ("1 file of 2 refused", "red")
    assert _notes(_facts(_lake(away=True)))["IN"] == ("not reached", "gray")
    ends = model_view.track(_facts(_lake(settings=_settings("analytics"))), NOW)
    assert [name for name, _ in ends] == ["IN", "Bronze", "Silver", "Gold"]


def test_cards_of_champions() -> None:
    serving = {"live": "blue", "slots": {"blue": {"model_version": "1"}}}
    dev = ChampionFacts("rmse", _champions(dev=2)["dev"], _registered(2), [50.0, 55.0], serving)
    here, test, prod = model_view.champions({"dev": dev, "test": ChampionFacts("rmse")}, NOW)
    assert (here.state, here.metric, here.value) == ("champion v2", "RMSE on gold_test", "52.9")
    assert (here.note, here.better, here.serves) == ("34 % better than baseline", True, 1)
    assert here.data == "95 % interval 50 to 55 · baseline 80 · gold v3 · champion since 3 h · serves v1"
    assert (test.state, test.value, test.version) == ("no champion yet", "not measured", None)
    assert (prod.state, prod.metric) == ("not set up", "")
    came_up = {**_registered(2), "inputs": [{"table": "gold", "version": 3, "env": "dev"}]}
    up = model_view.champions({"test": ChampionFacts("rmse", {"version": 2, "at": EARLIER}, came_up)}, NOW)[1]
    assert "gold v3 of dev" in up.data and up.data.endswith("not deployed") and up.serves is None


def test_acts_that_may_be_next() -> None:
    again = _facts(_lake(_SPLIT), versions=[_registered(split=1)])
    up = model_view.goes_up(_facts(), [], {})
    assert model_view.to_plan(_facts(_lake(settings=_settings("analytics"))), None) == ["refine"]
    assert model_view.to_plan(_facts(_lake(), versions=[], champions={}), None) == ["refine", "split", "train"]  # fmt: skip
    assert model_view.to_plan(again, None) == ["refine", "split", "train", "deploy"], "split anew since"
    assert model_view.to_plan(_facts(), None) == ["refine", "split", "deploy"], "trained on this split"
    assert model_view.to_plan(_facts(), up) == ["refine", "split"], "it goes up before it is deployed"
    test = _facts(_lake(), env="test", versions=[], champions={})
    assert model_view.to_plan(test, None) == ["refine", "split"], "a version comes there by promotion"


def _request(state: str, env: str = "test", by: str = "ann") -> dict[str, Any]:
    return {"env": env, "state": state, "by": by, "detail": {"challenger": 1}}


def test_a_promotion_that_is_next() -> None:
    def step(facts: ModelFacts, *asked: dict[str, Any], **became: Became) -> tuple[str, str] | None:
        s = model_view.goes_up(facts, asked, {env: {1: b} for env, b in became.items()})
        return (s.icon, s.said) if s else None

    assert step(_facts()) == ("upgrade", "v1 of dev may go up to test: test has no champion yet.")
    behind = _facts(versions=[_registered(3)], champions=_champions(dev=3, test=2))
    assert step(behind) == ("upgrade", "v3 of dev may go up to test: its champion there is v2.")
    waits = ("hourglass_top", "v1 waits for a decision: ann asked for test.")
    asked = (_request("waiting", "prod", "bob"), _request("refused", by="cy"), _request("waiting"))
    assert step(_facts(), *asked, test=Became("waiting")) == waits, "the one that waits for test"
    refused = step(_facts(), _request("refused"), test=Became("refused", "bob: too few rows"))
    assert refused is not None and refused[0] == "block"
    assert refused[1].startswith("v1 was refused for test by bob: too few rows. Train a better one")
    assert step(_facts(champions=_champions(dev=1, test=1))) is None
    assert step(_facts(champions=_champions(dev=1, test=2))) is None, "this one was rolled back"
    assert step(_facts(champions={})) is None and step(_facts(after=None)) is None


def _plan(act: str, nothing: str = "", **params: Any) -> Plan:
    draft = Draft(("it",), params=params, nothing_to_do=nothing)
    return Plan(Call(act, "p/m", "dev", {}), draft, {}, None, {}, True, "", "h")


def test_the_next_step_is_the_act_that_was_found_then_the_promotion() -> None:
    facts, up = _facts(), model_view.goes_up(_facts(), [], {})
    plan = _plan("train")
    assert model_view.next_step(facts, Planned("train", plan), up) == model_view.Step(
        "train", "Train", "model_training", plan
    )
    step = model_view.next_step(facts, Planned("deploy", _plan("deploy", version=2)), None)
    assert (step.label, step.icon) == ("Deploy the champion v2", "rocket_launch")
    step = model_view.next_step(facts, Planned("split", None, "there is no gold yet"), up)
    assert (step.act, step.plan, step.said) == ("split", None, "There is no gold yet.")
    assert model_view.next_step(facts, None, up) is up
    step = model_view.not_reached("dev")
    assert (step.act, step.plan) == ("", None) and step.said.startswith("dev can't be reached")


@pytest.mark.parametrize(
    "facts,act,says",
    [
        (_facts(_lake(files=0)), "ingest", "Nothing is here yet. Deliver a file of ds to dev"),
        (_facts(_lake(settings=_settings("analytics"))), "", "an analytics model ends at gold"),
        (_facts(env="test", versions=[], champions={}), "promote", "No version is in test yet: models are trained in dev"),
        (_facts(_lake(blocked=["ds02"]), versions=[]), "ingest", "gold waits for ds02, which has no IN file"),
        (_facts(versions=[]), "ingest", "Nothing is trained in dev yet: nothing more can be done now"),
        (_facts(champions={}), "", "Trained, but no version passed the gates in dev"),
        (_facts(champions=_champions(dev=1, test=1)), "", "Everything in dev is current: champion v1 serves"),
    ],
)  # fmt: skip
def test_without_anything_to_do_it_is_said_why(facts: ModelFacts, act: str, says: str) -> None:
    step = model_view.next_step(facts, None, None)
    assert step.plan is None and step.act == act and says in step.said


def test_plans_end_at_the_first_act_that_has_something_to_do() -> None:
    asked: list[str] = []

    def model(**answers: Plan | Exception) -> Any:
        def plans(act: str) -> Any:
            def plan() -> Plan:
                asked.append(act)
                answer = answers[act]
                if isinstance(answer, Exception):
                    raise answer
                return answer

            return plan

        return SimpleNamespace(**{f"plan_{act}": plans(act) for act in answers})

    idle, train = _plan("refine", "no new IN file"), _plan("train")
    its = model(refine=idle, split=UsageError("not for this one"), train=train, deploy=_plan("deploy"))
    assert first_plan(its, ["refine", "split", "train", "deploy"]) == Planned("train", train)
    assert asked == ["refine", "split", "train"], "those after it are not planned"
    early = model(refine=idle, split=NotYetError("there is no gold yet"))
    assert first_plan(early, ["refine", "split"]) == Planned("split", None, "there is no gold yet")
    assert first_plan(early, ["refine"]) is None and first_plan(early, []) is None


def test_what_happened_newest_first() -> None:
    runs = [
        _run("r-2", "done", act="train", result={"model_version": 3}, ended="2026-11-24T11:00:00+00:00"),
        _run("r-1", "running", cost=None, started="2026-11-24T10:30:00+00:00", **{"as": "ann"}),
    ]
    crown = {"at": "2026-11-24T11:01:00+00:00", "env": "dev", "version": 3, "why": "better", "by": "li"}
    lines = model_view.activity(runs, [crown], "EUR")
    assert [line for _, line in lines] == [
        "**champion** of dev is v3 · better · li",
        "**train** v3 in dev done · € 0.10 · li · `r-2`",
        "**refine** in dev running · ann · `r-1`",
    ]
    assert model_view.activity(runs, [crown], "EUR", most=1) == lines[:1]
