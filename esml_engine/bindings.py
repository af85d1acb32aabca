"""Which room does what, by name: acts for the door, steps for jobs. Loaded only when asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from esml_engine.errors import UsageError
from esml_engine.refs import ModelRef
from esml_engine.runs import records
from esml_engine.runs.facts import step_env

if TYPE_CHECKING:
    from esml_engine.door.facts import Act
    from esml_engine.door.site import Site

JOBS = {
    "lake.bronze": "esml_engine.lake.steps:bronze",
    "refining.silver": "esml_engine.refining.steps:silver",
    "refining.gold": "esml_engine.refining.steps:gold",
    "refining.split": "esml_engine.refining.steps:split",
    "training.train": "esml_engine.training.steps:train",
    "serving.smoke": "esml_engine.serving.steps:smoke",
    "serving.batch": "esml_engine.serving.steps:batch",
    "promotion.compare": "esml_engine.promotion.steps:compare",
    "promotion.copy": "esml_engine.promotion.steps:copy",
}

# loaded while such a job runs, for who records it: a cold start has no core to spare
AHEAD = {"training.train": "esml_engine.training.tracking:load_ahead"}

ACTS = {
    "set": "esml_engine.door.acts:Set",
    "member_add": "esml_engine.door.acts:MemberAdd",
    "member_remove": "esml_engine.door.acts:MemberRemove",
    "new_project": "esml_engine.door.acts:NewProject",
    "new_model": "esml_engine.door.acts:NewModel",
    "ask_exception": "esml_engine.door.asking:AskException",
    "ingest": "esml_engine.lake.acts:Ingest",
    "catalogue_rebuild": "esml_engine.lake.acts:CatalogueRebuild",
    "refine": "esml_engine.refining.acts:Refine",
    "split": "esml_engine.refining.split_act:Split",
    "train": "esml_engine.training.acts:Train",
    "register": "esml_engine.training.registering:Register",
    "rollback": "esml_engine.promotion.rollback:Rollback",
    "deploy": "esml_engine.serving.acts:Deploy",
    "undeploy": "esml_engine.serving.acts:Undeploy",
    "keys": "esml_engine.serving.acts:Keys",
    "save_view": "esml_engine.scored.acts:SaveView",
    "drop_view": "esml_engine.scored.acts:DropView",
    "score": "esml_engine.serving.scoring:Score",
    "score_batch": "esml_engine.serving.scoring:ScoreBatch",
    "compare": "esml_engine.promotion.acts:Compare",
    "promote": "esml_engine.promotion.acts:Promote",
    "approve": "esml_engine.promotion.deciding:Approve",
    "refuse": "esml_engine.promotion.deciding:Refuse",
    "ask": "esml_engine.promotion.talking:Ask",
    "answer": "esml_engine.promotion.talking:Answer",
    "delegate": "esml_engine.promotion.talking:Delegate",
    "pipeline": "esml_engine.portfolio.pipeline:Pipeline",
    "cancel": "esml_engine.portfolio.acts:Cancel",
    "retry": "esml_engine.portfolio.acts:Retry",
}
_TRACKED = ("train", "copy")  # steps whose jobs log to MLflow


def close_up(site: Site, row: dict[str, Any]) -> None:
    """Before a run ends badly: take back what it left wanted of an endpoint, close what its killed jobs left open in MLflow."""
    if row["act"] == "deploy":
        from esml_engine.serving.acts import Deploy

        Deploy().take_back(site, row)
    begun = [
        s["step"] for s in records.steps(site.store, row["run"]) if s["attempt"] and s["state"] != "done"
    ]
    envs = {step_env(s, row["env"]) for s in begun if s.rpartition("@")[2].rpartition("/")[2] in _TRACKED}
    if not envs:
        return
    from esml_engine.training import tracking

    ref = ModelRef.parse(row["object"])
    for env in envs:
        tracking.close_left(site.platform(env).tracking_uri(), f"{ref.project}-{ref.model}", row["run"])


def so_far(site: Site, row: dict[str, Any]) -> dict[str, Any]:
    """How far a run over several acts has come, by its steps; {} of a run of one act."""
    if row["act"] != "pipeline":
        return {}
    from esml_engine.portfolio import pipeline

    return pipeline.so_far(site, row)


def named(text: str) -> Any:
    """What `module:name` names."""
    module, name = text.split(":")
    return getattr(importlib.import_module(module), name)


def load_ahead(kind: str) -> None:
    """A job of this kind is under way: load what recording its result needs."""
    if kind in AHEAD:
        named(AHEAD[kind])()


def act(name: str) -> Act:
    """The act of that name."""
    if name not in ACTS:
        raise UsageError(f"no act {name!r}", hint=f"acts: {', '.join(sorted(ACTS))}")
    made: Act = named(ACTS[name])()
    return made
