"""What happened in the demo's company: deliveries over several dates, trainings, promotions, decisions, scoring.

Every act has a key of its own, so a demo that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from esml_engine.demo import data
from esml_engine.demo.setting_up import (
    ANALYST,
    APPROVER,
    CANCER,
    CO2,
    DIABETES,
    ENGINEER,
    REPORT,
    SCIENTIST,
)
from esml_engine.errors import FailedError, RefusedError
from esml_engine.estate import open_estate
from esml_engine.handing import OnProgress
from esml_engine.model import Model

ENVS = ("dev", "test", "prod")


class Company:
    """The demo's people at work on its estate."""

    def __init__(self, root: Path, on_progress: OnProgress | None = None) -> None:
        self.root, self.on_progress = root, on_progress
        self.files = root / ".esml" / "demo"

    def model(self, who: str, name: str, env: str = "dev") -> Model:
        """A model as somebody sees it."""
        return open_estate(self.root, act_as=who, on_progress=self.on_progress).model(name, env)

    def take_up(self) -> None:
        """What failed when the story was told before (a port that somebody else took, say) is run again: its key names that run."""
        estate = open_estate(self.root, on_progress=self.on_progress)
        for run in estate.runs(state="failed"):
            if run["object"] != REPORT:  # whose failure is part of the story
                # what still fails is raised where the story asks for it
                with suppress(FailedError, RefusedError):
                    estate.retry(run["run"])

    def deliver(self, name: str, env: str, deliveries: Iterable[data.Delivery]) -> None:
        """Files into IN; what was delivered before stays as it is."""
        model = self.model(ENGINEER, name, env)
        for d in deliveries:
            purpose: Any = d.purpose
            model.dataset(d.dataset).ingest(
                d.write(self.files / name / d.purpose), date=d.date, purpose=purpose
            )

    def refined(self, name: str, env: str, key: str) -> None:
        """Refined and split by the engineer."""
        model = self.model(ENGINEER, name, env)
        model.refine(idempotency_key=f"{key}-refine-{env}")
        model.split(idempotency_key=f"{key}-split-{env}")

    def approved(self, request: str | None, reason: str, *, verdict: str = "approve") -> None:
        """The approver decides on a request that waits; one that is decided stays so."""
        estate = open_estate(self.root, act_as=APPROVER, on_progress=self.on_progress)
        if any(r["request"] == request for r in estate.requests("waiting")):
            getattr(estate, verdict)(request, reason)


def tell(root: Path, on_progress: OnProgress | None = None) -> None:
    """The whole story; the models go side by side, each in its own order."""
    company = Company(root, on_progress)
    company.take_up()
    failures: list[BaseException] = []

    def told(chapter: Callable[[Company], None]) -> None:
        try:
            chapter(company)
        except BaseException as e:  # noqa: BLE001 - told again below, in the thread that asked
            failures.append(e)

    # daemons, and waited for in short turns: Ctrl-C ends the demo at once, and it goes on when it is started again
    threads = [threading.Thread(target=told, args=(c,), daemon=True) for c in (_diabetes, _others)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        threads[0 if threads[0].is_alive() else 1].join(0.2)
    if failures:
        raise failures[0]


def _diabetes(c: Company) -> None:
    """Two champions after each other in prod, the first trained on fewer dates; callers, online and batch."""
    first = [*data.diabetes("2026-09-01", 0, 240), *data.diabetes("2026-10-01", 240, 340)]
    second = data.diabetes("2026-11-01", 340, 400)
    c.deliver(DIABETES, "dev", first)
    c.refined(DIABETES, "dev", "d1")
    scientist = c.model(SCIENTIST, DIABETES)
    scientist.train(idempotency_key="d1-train")
    scientist.deploy(idempotency_key="d1-deploy")
    for env in ("test", "prod"):
        c.deliver(DIABETES, env, [*first, *(second if env == "prod" else [])])
        c.refined(DIABETES, env, "d1")
    scientist.promote("test", idempotency_key="d1-to-test")
    asked = scientist.env("test").promote("prod", idempotency_key="d1-to-prod")
    c.approved(asked.get("request"), "better than the baseline on each measure; the ward agreed")
    c.model(SCIENTIST, DIABETES, "prod").deploy(idempotency_key="d1-deploy-prod")
    _scored(c, "dev")

    for env in ("dev", "test"):
        c.deliver(DIABETES, env, second)
        c.refined(DIABETES, env, "d2")
    version = scientist.train(idempotency_key="d2-train")["model_version"]
    scientist.promote("test", version, idempotency_key="d2-to-test")
    asked = scientist.env("test").promote("prod", version, idempotency_key="d2-to-prod")
    c.approved(asked.get("request"), "trained on one month more, and no worse on prod's own rows")
    c.model(SCIENTIST, DIABETES, "prod").deploy(idempotency_key="d2-deploy-prod")
    _scored(c, "prod")
    c.deliver(DIABETES, "dev", data.diabetes("2026-11-20", 400, 420))  # waits to be refined


def _scored(c: Company, env: str) -> None:
    """Batch from IN files for inference, and two callers of the endpoint."""
    c.deliver(DIABETES, env, data.diabetes("2026-11-15", 420, 442, "inference"))
    engineer, analyst = c.model(ENGINEER, DIABETES, env), c.model(ANALYST, DIABETES, env)
    engineer.refine(purpose="inference", idempotency_key=f"d-inference-{env}")
    analyst.score_batch(caller="nightly", idempotency_key=f"d-nightly-{env}")
    frame = analyst.to_score.read().drop(columns=["patient_id"])
    for caller, part in (("web", frame.head(6)), ("ward-3", frame.iloc[6:9])):
        analyst.score(part, caller=caller, request_id=f"demo-{caller}")


def _others(c: Company) -> None:
    _report(c)
    _tumour(c)
    _co2(c)


def _report(c: Company) -> None:
    """Analytics: ends at gold. Its last delivery was cut on the way: a run that failed."""
    c.deliver(REPORT, "dev", [*data.visits("2026-09-01", 0, 300), *data.visits("2026-10-01", 300, 442)])
    engineer = c.model(ENGINEER, REPORT)
    engineer.refine(idempotency_key="r1-refine")
    c.deliver(REPORT, "dev", [data.unreadable("2026-11-01")])
    try:
        engineer.refine(idempotency_key="r2-refine")
    except FailedError:
        return  # it is there to be seen: the run, its reason, and version 1 still current


def _tumour(c: Company) -> None:
    """One champion in prod through one pipeline; the next version's request is open."""
    first, second = data.tumours("2026-09-01", 0, 380), data.tumours("2026-11-01", 380, 520)
    scientist = c.model(SCIENTIST, CANCER)
    for env in ENVS:
        c.deliver(CANCER, env, first)
        c.model(ENGINEER, CANCER, env).refine(idempotency_key=f"t1-refine-{env}")
    asked = scientist.pipeline("prod", idempotency_key="t1-pipeline")
    c.approved(asked.get("request"), "recall above what the clinic asks for")
    for env in ENVS:
        c.deliver(CANCER, env, second)
        c.model(ENGINEER, CANCER, env).refine(idempotency_key=f"t2-refine-{env}")
    scientist.pipeline("prod", idempotency_key="t2-pipeline")
    prod = c.model(SCIENTIST, CANCER, "prod")
    prod.deploy(idempotency_key="t1-deploy")
    c.deliver(CANCER, "prod", data.tumours("2026-11-15", 520, 569, "inference"))
    c.model(ENGINEER, CANCER, "prod").refine(purpose="inference", idempotency_key="t-inference")
    analyst = c.model(ANALYST, CANCER, "prod")
    frame = analyst.to_score.read().drop(columns=["sample_id"])
    analyst.score(frame.head(5), caller="pathology", request_id="demo-pathology")


def _co2(c: Company) -> None:
    """A forecast in prod; the approver refused the next one."""
    scientist = c.model(SCIENTIST, CO2)
    for env in ENVS:
        c.deliver(CO2, env, data.co2("2026-09-01", "1980-01-01", "1998-01-01"))
        c.model(ENGINEER, CO2, env).refine(idempotency_key=f"c1-refine-{env}")
    asked = scientist.pipeline("prod", idempotency_key="c1-pipeline")
    c.approved(asked.get("request"), "far better than last year's values repeated")
    for env in ENVS:
        c.deliver(CO2, env, data.co2("2026-11-01", "1998-01-01", "2001-01-01"))
        c.model(ENGINEER, CO2, env).refine(idempotency_key=f"c2-refine-{env}")
    try:
        asked = scientist.pipeline("prod", idempotency_key="c2-pipeline")
    except FailedError:
        return  # told before: that run has ended, refused
    c.approved(
        asked.get("request"),
        "the station was recalibrated in 2000: wait until those weeks are corrected",
        verdict="refuse",
    )
