"""The estate on one page to print or to send: figures, what waits, who is needed, and the list through its four lenses."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from cockpit.views.estate import Row, turn
from cockpit.views.figures import Figure

_CSS = """
:root{color-scheme:light dark;--line:#c9ced6}@media(prefers-color-scheme:dark){:root{--line:#444b57}}
body{font:14px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2rem 0 .4rem;break-after:avoid}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:1rem}
dl>div{border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem}dd{margin:0}dd.f{font-size:1.4rem}
table{border-collapse:collapse;width:100%;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
@media print{body{margin:0;max-width:none}tr{break-inside:avoid}}
"""


def report(
    head: str,
    figures: Sequence[Figure],
    waiting: Sequence[str],
    rows: Sequence[Row],
    lenses: Mapping[str, pd.DataFrame],
) -> str:
    """A page that needs nothing else: no scripts, no other file.

    Args:
        head: of what, for whom, as of when.
        waiting: open requests, a line of Markdown each.
        rows: the models of the list; `lenses`: their table through each lens, by its name.
    """
    cards = "".join(
        f'<div><dt>{_t(f.label)}</dt><dd class="f">{_t(f.text)}</dd><dd>{_t(f.note)}</dd></div>'
        for f in figures
    )
    needs = pd.DataFrame(
        [{"Model": r.model, "Needs": n.text, "Whose turn": turn(r, n)} for r in rows for n in r.needs]
    )
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Estate</title>',
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_CSS}</style></head><body>',
        f"<h1>Estate</h1><p>{_t(head)}</p><dl>{cards}</dl>",
        "<h2>Waits for a decision</h2>",
        _list(waiting, "Nothing waits."),
        "<h2>Needs attention</h2>",
        _table(needs) if len(needs) else "<p>No model needs anybody.</p>",
        *(f"<h2>{_t(name)}</h2>{_table(frame)}" for name, frame in lenses.items()),
        "</body></html>\n",
    ]
    return "".join(parts)


def _t(text: object) -> str:
    return html.escape(str(text))


def _list(lines: Sequence[str], empty: str) -> str:
    lines = [re.sub(r"\\(.)", r"\1", x.replace("**", "")) for x in lines]
    return f"<ul>{''.join(f'<li>{_t(x)}</li>' for x in lines)}</ul>" if lines else f"<p>{empty}</p>"


def _table(frame: pd.DataFrame) -> str:
    shown = frame.rename(columns={"progress": "Way, %"})
    if "progress" in frame:
        shown["Way, %"] = (100 * frame["progress"]).round().astype(int)
    return str(shown.to_html(index=False, border=0, escape=True, na_rep=""))
