"""IN files that bronze does not hold, from the store alone: what a list of many models can say without asking their lakes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field

import sqlalchemy as sa

from esml_engine.door.site import Site
from esml_engine.refs import ModelRef
from esml_engine.store import schema as t


@dataclass
class Waits:
    """Of one model: files whose newest content bronze neither holds nor refused, and how many it refused.

    Args:
        files: (environment, purpose) -> files that wait, and their bytes.
    """

    files: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    refused: int = 0

    @property
    def count(self) -> int:
        """Files that wait, in all environments."""
        return sum(n for n, _ in self.files.values())

    def bytes(self, env: str) -> int:
        """Size of what the next refinement there reads, which is the train side's unless it says otherwise; 0: nothing waits."""
        return self.files.get((env, "train"), (0, 0))[1]


def waiting_bytes(site: Site, ref: ModelRef, env: str) -> int:
    """Size of the IN files that the model's next refinement in an environment reads, as far as they were noted."""
    with site.store.read() as c:
        return waiting_files(c, [str(ref)], site.settings.in_rnd([ref]))[str(ref)].bytes(env)


def waiting_files(c: sa.Connection, names: list[str], rnd: Container[tuple[str, str]]) -> dict[str, Waits]:
    """What waits, of each of these models.

    Args:
        rnd: (model, environment) in R&D mode: a bronze that was read in the other mode is read anew from all files.
    """
    v, f = t.versions, t.in_files
    kept_out: set[tuple[str, str, str, str, str, str]] = set()
    have: dict[tuple[str, str, str, str, str], str] = {}
    sampled: dict[tuple[str, str, str], bool] = {}
    held = sa.select(v.c.object, v.c.env, v.c.name, v.c.facts, v.c.rnd).where(
        v.c.object.in_(names), v.c.name.like("%/bronze")
    )
    for object_, env, name, facts, of_rnd in c.execute(held.order_by(v.c.version)).all():
        sampled[object_, env, name] = of_rnd
        for x in (facts or {}).get("files", []):
            have[(object_, env, name, x["date"], x["name"])] = x["sha256"]
        for x in (facts or {}).get("refused", []):
            kept_out.add((object_, env, name, x["date"], x["name"], x["sha256"]))
    newest: dict[tuple[str, str, str, str, str], tuple[str, str, str, int]] = {}
    columns = (
        f.c.object,
        f.c.env,
        f.c.purpose,
        f.c.dataset,
        f.c.date,
        f.c.name,
        f.c.sha256,
        f.c.stat,
        f.c.bytes,
    )
    for object_, env, purpose, dataset, date, name, sha, stat, size in c.execute(
        sa.select(*columns).where(f.c.object.in_(names))
    ):
        table = f"{'inference/' if purpose == 'inference' else ''}{dataset}/bronze"
        key = (object_, env, table, date, name)
        written = stat.rpartition(":")[2]  # the file's modification time: the newest content counts
        if key not in newest or written > newest[key][0]:
            newest[key] = (written, sha, purpose, size)
    out: dict[str, Waits] = defaultdict(Waits, {o: Waits() for o in names})
    for key, (_, sha, purpose, size) in newest.items():
        if have.get(key) == sha and sampled[key[:3]] == (key[:2] in rnd):
            continue
        its = out[key[0]]
        if (*key, sha) in kept_out:
            its.refused += 1
        else:
            n, total = its.files.get((key[1], purpose), (0, 0))
            its.files[(key[1], purpose)] = (n + 1, total + size)
    return out
