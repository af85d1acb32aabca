"""An evidence pack as one HTML page that needs nothing else: printable, light and dark, no scripts."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

PAGE = 3  # raised with every change of what `render` writes: a page of another number is refused, its JSON can be verified

_CSS = """
:root{color-scheme:light dark;--line:#c9ced6;--soft:#f3f5f8;--good:#0a6b3d;--bad:#a3271f;--bar:#5b7db1}
@media(prefers-color-scheme:dark){:root{--line:#444b57;--soft:#1d2128;--good:#63d39b;--bad:#ff9c92;--bar:#8fb0e3}}
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right}.good{color:var(--good)}.bad{color:var(--bad)}.small{font-size:.85rem}
code,pre{font:12px/1.45 ui-monospace,monospace;overflow-wrap:anywhere}
pre{background:var(--soft);padding:.8rem;white-space:pre-wrap}svg{width:100%;height:7rem}rect{fill:var(--bar)}
details>summary{cursor:pointer}@media print{body{margin:0;max-width:none}details>pre{display:block}h2{break-after:avoid}}
"""
_OPEN, _CLOSE = '<pre id="evidence">', "</pre>"
_MARK = f'<meta name="esml-evidence-page" content="{PAGE}">'

RECIPE = """python3 - FILE <<'END'
import hashlib, html, json, re, sys
text = open(sys.argv[1], encoding="utf-8").read()
inside = re.search(r'<pre id="evidence">(.*?)</pre>', text, re.S)
def once(pairs):
    assert len(dict(pairs)) == len(pairs), "a name stands twice in one object"
    return dict(pairs)
d = json.loads(html.unescape(inside.group(1)) if inside else text, object_pairs_hook=once)
form = lambda x: hashlib.sha256(json.dumps(x, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
for name in d["sections"]:
    print(name, form(d["sections"][name]) == d["hashes"][name])
said = d.pop("sha256")
print("whole", form(d) == said, said)
END"""


def render(document: dict[str, Any]) -> str:
    """The whole page; the same document always gives the same bytes."""
    inside = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    document = json.loads(inside)  # in the order of its JSON, which is all that whoever verifies the page has
    s = document["sections"]
    d = s["decision"]
    title = f"{d['object']} v{d['version']}: {d['from']} to {d['to']}, {d['state']}"
    parts = [
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{_MARK}<title>{_t(title)}</title>',
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_CSS}</style></head><body>',
        f"<h1>{_t(title)}</h1>",
        f"<p>{_t(_sentence(s))}</p>",
        f'<p class="small">Evidence {_t(document["evidence"])} of estate {_t(s["engine"]["estate"])}, decided {_t(d["at"])}, engine {_t(s["engine"]["version"])}.<br>sha256 <code>{_t(document["sha256"])}</code></p>',
        "<h2>Gates</h2>",
        _gates(s["gates"]["gates"]),
        "<h2>Metrics on the same rows</h2>",
        _metrics(s["metrics"]),
        _histogram(s["metrics"].get("distribution")),
        "<h2>Models</h2>",
        _models(s["models"]),
        "<h2>Data</h2>",
        _data(s["data"]),
        "<h2>Approvals</h2>",
        _approvals(s["request"], s["approvals"]),
        "<h2>Policy in force</h2>",
        _table(
            ("setting", "value", "from"),
            ((k, v, s["policy"]["origin"].get(k, "")) for k, v in sorted(s["policy"]["in_force"].items())),
        ),
        "<h2>Verify it without the product</h2>",
        "<p>Everything above is in the document below. Each section's hash is the sha256 over its JSON with sorted keys, without spaces, in UTF-8; "
        "the document's hash is over all but itself in the same form. Save this page (or the JSON) as FILE and run:</p>",
        f"<pre>{_t(RECIPE)}</pre>",
        "<p>Then hold the last hash against the one that the estate's audit log keeps for this promotion.</p>",
        _table(("section", "sha256"), sorted(document["hashes"].items())),
        f"<details><summary>The document</summary>{_OPEN}{html.escape(inside)}{_CLOSE}</details>",
        "</body></html>\n",
    ]
    return "\n".join(parts)


def json_in(text: str) -> str | None:
    """The JSON that a page carries."""
    found = re.search(re.escape(_OPEN) + "(.*?)" + re.escape(_CLOSE), text, re.DOTALL)
    return html.unescape(found.group(1)) if found else None


def comparable(text: str) -> bool:
    """Whether this engine renders pages of this form: then the page itself is verified too.

    A page without its mark counts as comparable, so that taking the mark away hides nothing.
    """
    found = re.search(r'<meta name="esml-evidence-page" content="(\d+)">', text)
    # no form has a number of so many digits, and Python reads no number of thousands
    return found is None or (len(found.group(1)) < 10 and int(found.group(1)) == PAGE)


def _sentence(s: Mapping[str, Any]) -> str:
    d, m = s["decision"], s["models"]
    old = m["champion"]
    against = (
        f"champion v{old['version']}"
        if old
        else "floors and the trivial baseline, since no champion stood there"
    )
    passed = sum(1 for g in s["gates"]["gates"] if g["passed"])
    by = f" Decided by {d['decided_by']}." if d["decided_by"] else ""
    return f"Version {d['version']} was compared with {against} on {s['metrics']['rows']} rows; {passed} of {len(s['gates']['gates'])} gates passed. {d['reason'] or ''}.{by}"


def _gates(gates: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for g in gates:
        mark = '<td class="good">passed</td>' if g["passed"] else '<td class="bad">refused</td>'
        change = (g["would_pass_if"] or {}).get("text", "")
        rows.append(
            f'<tr><td>{_t(g["gate"])}</td>{mark}<td class="n">{_n(g["margin"])}</td><td>{_t(g["reason"])}'
            + (f"<br>Would pass with: {_t(change)}" if change else "")
            + "</td></tr>"
        )
    return f'<table><tr><th>gate</th><th>verdict</th><th class="n">margin</th><th>why</th></tr>{"".join(rows)}</table>'


def _metrics(m: Mapping[str, Any]) -> str:
    mine, theirs, trivial = m["challenger"] or {}, m["champion"] or {}, m["baseline"] or {}
    head = "".join(
        f'<th class="n">{h}</th>'
        for h in ("challenger", "champion", "baseline", "95 % interval of the difference (above 0: better)")
    )
    rows = "".join(
        f"<tr><td>{_t(k)}</td>"
        + "".join(f'<td class="n">{_n(x.get(k))}</td>' for x in (mine, theirs, trivial))
        + f'<td class="n">{_band(m["intervals_of_difference"].get(k))}</td></tr>'
        for k in (mine or theirs or trivial)
    )
    return f"<table><tr><th>metric</th>{head}</tr>{rows}</table>"


def _histogram(h: Mapping[str, Any] | None) -> str:
    if not h or not max(h["counts"], default=0):
        return ""
    top, n = max(h["counts"]), len(h["counts"])
    bars = "".join(
        f'<rect x="{i * 10}" y="{100 - 100 * c / top:.1f}" width="9" height="{100 * c / top:.1f}"/>'
        for i, c in enumerate(h["counts"])
    )
    said = f"resampled difference in {h['metric']}, from {_n(h['edges'][0])} to {_n(h['edges'][-1])}"
    return f'<svg viewBox="0 0 {n * 10} 100" preserveAspectRatio="none" role="img" aria-label="{_t(said)}">{bars}</svg><p class="small">{_t(said)}</p>'


def _models(models: Mapping[str, Any]) -> str:
    rows = (
        (
            who,
            f"v{m['version']}",
            m["estimator"],
            f"{m['trained_in']}, run {m['training_run']}",
            ", ".join(f"{k} {v}" for k, v in m["data"].items()),
            m["sha256"],
        )
        for who, m in models.items()
        if m
    )
    return _table(("", "version", "estimator", "trained in", "data", "sha256 of its folder"), rows)


def _data(data: Mapping[str, Any]) -> str:
    rows = (
        (
            x["environment"],
            x["table"],
            x["version"],
            x.get("rows"),
            ", ".join(x["use"]),
            x.get("schema_sha256"),
        )
        for x in data["tables"]
    )
    return _table(("environment", "table", "version", "rows", "use", "sha256 of its schema"), rows)


def _approvals(request: Mapping[str, Any], approvals: Mapping[str, Any]) -> str:
    asked = f"<p>Asked by {_t(request['by'])} (person: {_t(request['person'])}) at {_t(request['at'])}; {approvals['needed']} approvals by others needed.</p>"
    talk = request.get("talk") or ()  # packs of before nothing could be asked have none
    said = ((x["kind"], x["by"], x["person"], x["at"], x["to"], x["text"]) for x in talk)
    rows = ((a["verdict"], a["by"], a["person"], a["at"], a["reason"]) for a in approvals["decisions"])
    note = f'<p class="bad">{_t(approvals["note"])}.</p>' if approvals["note"] else ""
    return (
        asked
        + (_table(("said", "by", "person", "at", "to", "text"), said) if talk else "")
        + (_table(("verdict", "by", "person", "at", "reason"), rows) if approvals["decisions"] else "")
        + note
    )


def _table(head: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{_t(v)}</td>" for v in row) + "</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{_t(h)}</th>' for h in head)}</tr>{body}</table>"


def _band(band: Any) -> str:
    return f"{_n(band[0])} to {_n(band[1])}" if band else ""


def _n(value: Any) -> str:
    return "" if value is None else f"{value:.6g}"


def _t(value: Any) -> str:
    return "" if value is None else html.escape(str(value))
