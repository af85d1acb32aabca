"""The store's tables. Each room owns the rows of its own tables; the migration makes exactly these."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData()


def _table(name: str, *columns: Column | UniqueConstraint | Index) -> Table:
    return Table(name, metadata, *columns)


def _str(name: str, **kw: object) -> Column:
    return Column(name, String(255), nullable=False, **kw)  # type: ignore[arg-type]


# door
members = _table(
    "members",
    _str("actor", primary_key=True),
    _str("scope", primary_key=True),
    _str("role", primary_key=True),
    _str("by"),
    _str("at"),
)
overrides = _table(
    "overrides",
    _str("scope", primary_key=True),
    _str("key", primary_key=True),
    Column("value", JSON),
    Column("replaced", JSON),
    _str("by"),
    _str("at"),
)
audit = _table(
    "audit",
    Column("n", Integer, primary_key=True, autoincrement=False),
    _str("at"),
    _str("actor"),
    Column("as_actor", String(255)),
    _str("act"),
    _str("object"),
    Column("env", String(16)),
    _str("result"),
    Column("run", String(64)),
    Column("detail", JSON),
    _str("prev"),
    _str("hash"),
)

requests = _table(
    "requests",
    _str("request", primary_key=True),
    _str("kind"),
    _str("object"),
    _str("env"),
    Column("run", String(64)),
    _str("by"),
    _str("person"),
    _str("at"),
    _str("expires"),
    _str("state"),
    Column("needed", Integer, nullable=False),
    _str("facts"),
    Column("detail", JSON, nullable=False),
    Column("decided", String(40)),
    Index("requests_state", "state", "env"),
    Index("requests_run", "run"),
)
decisions = _table(
    "decisions",
    _str("request", primary_key=True),
    Column("n", Integer, primary_key=True),
    _str("by"),
    _str("person"),
    _str("verdict"),
    Column("reason", Text),
    _str("at"),
)
request_talk = _table(
    "request_talk",
    _str("request", primary_key=True),
    Column("n", Integer, primary_key=True),
    _str("kind"),
    _str("by"),
    _str("person"),
    Column("text", Text, nullable=False),
    _str("to"),
    _str("at"),
)
exceptions = _table(
    "exceptions",
    _str("request", primary_key=True),
    _str("object"),
    _str("env"),
    Column("amount", Float, nullable=False),
    _str("until"),
    _str("by"),
    _str("approved_by"),
    Index("exceptions_object", "object", "env"),
)

# runs
runs = _table(
    "runs",
    _str("run", primary_key=True),
    _str("act"),
    _str("object"),
    _str("env"),
    _str("state"),
    _str("actor"),
    Column("as_actor", String(255)),
    _str("plan_hash"),
    Column("plan", JSON, nullable=False),
    Column("params", JSON, nullable=False),
    Column("idempotency_key", String(255)),
    _str("created"),
    Column("started", String(40)),
    Column("ended", String(40)),
    Column("progress", Float, nullable=False, server_default="0"),
    Column("message", Text),
    Column("predicted", JSON),
    Column("seconds", Float),
    Column("cost", Float),
    Column("node", String(64)),
    Column("error", JSON),
    Column("result", JSON),
    Column("cancel", Boolean, nullable=False, server_default=false()),
    Column("executor", String(64)),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Index("runs_object", "object", "env", "act", "state"),
    Index("runs_state", "state", "created"),
    Index("runs_created", "created"),
)
_OPEN = runs.c.state.in_(("queued", "waiting", "running"))
_one_open = Index("runs_open_plan", runs.c.plan_hash, unique=True, sqlite_where=_OPEN)


def for_postgresql() -> None:
    """What only PostgreSQL is told of the tables: naming its dialect above would load it for every SQLite store."""
    _one_open.dialect_options["postgresql"]["where"] = _OPEN


Index("runs_key", runs.c.idempotency_key, unique=True)
run_steps = _table(
    "run_steps",
    _str("run", primary_key=True),
    _str("step", primary_key=True),
    Column("n", Integer, nullable=False),
    _str("state"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("started", String(40)),
    Column("ended", String(40)),
    Column("seconds", Float),
    Column("result", JSON),
    Column("error", JSON),
    Column("work", Text),
)
unended_jobs = _table(
    "unended_jobs",
    Column("handle", String(1024), primary_key=True),
    _str("run"),
    _str("step"),
    Column("attempt", Integer, nullable=False),
    _str("env"),
    _str("at"),
    Index("unended_jobs_run", "run"),
)
leases = _table(
    "leases",
    _str("name", primary_key=True),
    _str("owner"),
    _str("host"),
    Column("pid", Integer, nullable=False),
    Column("pid_started", Float, nullable=False),
    Column("heartbeat", Float, nullable=False),
    _str("kind"),
)
locks = _table(
    "locks",
    _str("name", primary_key=True),
    _str("run"),
    _str("owner"),
    Column("heartbeat", Float, nullable=False),
)

# costs
meter = _table(
    "meter",
    _str("run", primary_key=True),
    _str("step", primary_key=True),
    Column("attempt", Integer, primary_key=True),
    _str("object"),
    _str("project"),
    _str("env"),
    _str("act"),
    _str("node"),
    Column("nodes", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("price", Float, nullable=False),
    Column("cost", Float, nullable=False),
    Column("size", Float, nullable=False),
    _str("at"),
    Index("meter_object", "object", "env", "act"),
    Index("meter_project", "project", "at"),
)

# lake
versions = _table(
    "versions",
    _str("object", primary_key=True),
    _str("env", primary_key=True),
    _str("name", primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("delta_version", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    _str("at"),
    Column("run", String(64)),
    Column("step", String(255)),
    Column("by", String(255)),
    Column("inputs", JSON),
    Column("code", String(64)),
    Column("schema", Text, nullable=False),
    Column("quality", JSON),
    Column("facts", JSON),
    Column("note", Text),
    _str("origin"),
    Column("siblings", JSON),
    Column("rnd", Boolean, nullable=False, server_default=false()),
)
in_files = _table(
    "in_files",
    _str("object", primary_key=True),
    _str("env", primary_key=True),
    _str("purpose", primary_key=True),
    _str("dataset", primary_key=True),
    _str("date", primary_key=True),
    _str("name", primary_key=True),
    _str("sha256", primary_key=True),
    Column("path", Text, nullable=False),
    Column("bytes", Integer, nullable=False),
    _str("at"),
    Column("by", String(255)),
    _str("stat"),
)

# training
model_versions = _table(
    "model_versions",
    _str("object", primary_key=True),
    Column("version", Integer, primary_key=True),
    _str("env", primary_key=True),
    Column("registry_version", Integer, nullable=False),
    _str("run"),
    _str("mlflow_run"),
    _str("task"),
    _str("estimator"),
    Column("metrics", JSON, nullable=False),
    Column("baseline", JSON, nullable=False),
    _str("sha256"),
    Column("folder", Text, nullable=False),
    Column("inputs", JSON, nullable=False),
    Column("detail", JSON, nullable=False),
    _str("at"),
    _str("by"),
    Column("rnd", Boolean, nullable=False, server_default=false()),
)
reservations = _table(
    "reservations",
    _str("object", primary_key=True),
    Column("version", Integer, primary_key=True),
    _str("env"),
    _str("run"),
)
candidates = _table(
    "candidates",
    _str("object", primary_key=True),
    _str("env", primary_key=True),
    _str("run", primary_key=True),
    _str("estimator", primary_key=True),
    Column("version", Integer),
    Column("metrics", JSON, nullable=False),
    Column("baseline", JSON, nullable=False),
    Column("data", JSON, nullable=False),
    Column("cost", Float),
    _str("at"),
    Column("verdict", JSON),
    Column("intervals", JSON),
)
saved_views = _table(
    "saved_views",
    _str("object", primary_key=True),
    _str("env", primary_key=True),
    _str("name", primary_key=True),
    Column("filters", JSON, nullable=False),
    _str("by"),
    _str("at"),
)
forgotten = _table(
    "forgotten",
    _str("object", primary_key=True),
    _str("env", primary_key=True),
    _str("name", primary_key=True),
    Column("version", Integer, nullable=False),
)
"""The highest number of a table's versions that were forgotten: none is given twice."""
champions = _table(
    "champions",
    _str("object", primary_key=True),
    _str("env", primary_key=True),
    Column("version", Integer, nullable=False),
    Column("previous", Integer),
    Column("revision", Integer, nullable=False),
    Column("aliased", Integer, nullable=False, server_default="0"),
    _str("at"),
    _str("by"),
)
champion_history = _table(
    "champion_history",
    _str("object", primary_key=True),
    _str("env", primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    _str("at"),
    _str("by"),
    _str("run"),
    Column("why", Text),
)
pins = _table(
    "pins",
    _str("object", primary_key=True),
    _str("env", primary_key=True),
    _str("name", primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("model_version", Integer, primary_key=True),
)

# scored, serving
deployments = _table(
    "deployments",
    _str("object", primary_key=True),
    _str("env", primary_key=True),
    _str("endpoint"),
    Column("port", Integer, nullable=False, unique=True),
    _str("live"),
    Column("slots", JSON, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("save", Boolean, nullable=False),
    _str("at"),
    _str("by"),
    _str("run"),
)

# promotion
comparisons = _table(
    "comparisons",
    _str("comparison", primary_key=True),
    _str("object"),
    Column("version", Integer, nullable=False),
    _str("source"),
    _str("target"),
    _str("facts"),
    _str("verdict"),
    Column("document", JSON, nullable=False),
    _str("run"),
    _str("at"),
    Index("comparisons_object", "object", "version", "source", "target"),
)
evidence = _table(
    "evidence",
    _str("evidence", primary_key=True),
    _str("object"),
    _str("env"),
    _str("run"),
    _str("sha256"),
    Column("document", JSON, nullable=False),
    _str("at"),
    Index("evidence_object", "object", "env"),
)
