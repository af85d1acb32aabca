"""What an endpoint says about itself to Prometheus."""

from __future__ import annotations

from esml_engine.scored.answered import SharedLedger
from esml_engine.scored.ledger import Ledger
from esml_engine.serving.tally import BUCKETS, Tally


class Metrics:
    """Requests by status, rows, seconds, and the ledger's commits; each endpoint has a registry of its own."""

    def __init__(self, endpoint: str, ledger: Ledger | SharedLedger, tally: Tally) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.tally = tally
        self._registry = CollectorRegistry()
        of = {"labelnames": ("endpoint",), "registry": self._registry}
        requests = Counter(
            "esml_requests",
            "Scoring requests answered",
            labelnames=("endpoint", "status"),
            registry=self._registry,
        )
        self._by_status = {
            s: requests.labels(endpoint, str(s)) for s in (200, 400, 401, 409, 413, 415, 429, 500, 503)
        }
        self._rows = Counter("esml_rows", "Rows predicted", **of).labels(endpoint)
        self._seconds = Histogram(
            "esml_request_seconds", "From request to answer", buckets=BUCKETS, **of
        ).labels(endpoint)
        commits = Gauge("esml_ledger_commits", "Group commits since the process began", **of).labels(endpoint)
        commits.set_function(lambda: ledger.commits)

    def answered(self, status: int, rows: int, seconds: float) -> None:
        """Count one answer."""
        self._by_status[status].inc()
        if rows:
            self._rows.inc(rows)
        self._seconds.observe(seconds)
        self.tally.answered(status, rows, seconds)

    def text(self) -> bytes:
        """The exposition format."""
        from prometheus_client import generate_latest

        text: bytes = generate_latest(self._registry)
        return text
