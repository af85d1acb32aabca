"""Which version of its tables a job builds on and which number it gives: what is recorded, held against what stands in the lake."""

from __future__ import annotations

from typing import Any, TypedDict

from esml_engine.door.site import Site
from esml_engine.lake.catalogue import (
    all_latest,
    next_numbers,
    not_there,
    older_copy,
    require_same,
    table_uri,
)
from esml_engine.lake.log import APP, open_table
from esml_engine.refs import ModelRef


class Numbers(TypedDict):
    """A table's version that a job builds on (0: none), the number of the one that it makes, and which one stands in the lake.

    What stands there is another than `on` where a sibling was committed whose head never came, or went.
    """

    on: int
    next: int
    stands: int


def numbers_of(site: Site, ref: ModelRef, env: str, names: list[str]) -> dict[str, Numbers]:
    """The numbers of each table now; they go into the specification, before anything is made.

    Raises:
        NotFoundError: a table that was recorded is not in the lake any more.
        ConflictError: an older copy of it is there, or another table in its place.
    """
    out = {}
    have, given = all_latest(site.store, ref, env), next_numbers(site.store, ref, env, names)
    storage = site.platform(env).storage_options()
    for n in names:
        uri, on = table_uri(site, ref, env, n), have[n].version if n in have else 0
        stands = number_in(uri, open_table(uri, storage), on)
        if n in have:
            require_same(site, have[n])
        # a sibling whose head never came is replaced under its number; one beyond the next had a head that is lost
        out[n] = Numbers(on=on, next=stands + 1 if stands > given[n] else given[n], stands=stands)
    return out


def number_in(uri: str, handle: Any, on: int) -> int:
    """The number of the newest version that stands in an opened table (None: there is none), `on` being recorded of it.

    Raises:
        NotFoundError, ConflictError: as `numbers_of`.
    """
    if handle is None and on:
        raise not_there(uri)
    here = int(handle.transaction_version(APP) or 0) if handle is not None else 0
    if here < on:
        raise older_copy(uri)
    return here
