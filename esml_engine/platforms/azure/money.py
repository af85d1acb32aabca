"""Node prices from Azure's public list, and what was billed, by tag; both kept for a while in a file with its date.

Nobody waits for them twice: what is old is fetched anew in a thread, and what is there answers meanwhile.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from esml_engine import replacing
from esml_engine.clock import now
from esml_engine.errors import EsmlError
from esml_engine.platforms.azure import limits
from esml_engine.platforms.azure.clouds import Cloud
from esml_engine.platforms.azure.errors import AzureDeniedError, AzureFailedError, AzureMissingError, asking
from esml_engine.platforms.azure.extra import need
from esml_engine.platforms.azure.identity import identity_of
from esml_engine.platforms.azure.rest import Rest
from esml_engine.platforms.base import Bill

log = logging.getLogger("esml.azure")
_PRICES_AGE, _BILLS_AGE = 7 * 86_400.0, 86_400.0
_AGAIN, _SOON = 3_600.0, 15.0  # after a failure; and where no run can start without
_FIRST_WAIT = 10.0  # for the very first answer, when there is nothing yet
_PAGES = 20


class Kept:
    """A document that is fetched now and then and kept in a file with the time when it was."""

    def __init__(
        self,
        path: Path,
        age: float,
        fetch: Callable[[dict[str, Any]], dict[str, Any]],
        parts: Callable[[dict[str, Any]], object],
        soon: float = _AGAIN,
    ) -> None:
        self.path, self.age, self.fetch, self.soon = path, age, fetch, soon
        self.parts = parts  # takes a document apart as its readers do; raises where it is of another shape
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._failed = -_AGAIN

    def read(self) -> dict[str, Any]:
        """What is kept; empty before the first answer, and where the file is damaged: it is fetched anew."""
        try:
            found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
            dt.datetime.fromisoformat(found["at"]).timestamp(), self.parts(found)
        except (FileNotFoundError, ValueError, OverflowError, TypeError, KeyError, AttributeError):
            return {}
        return found

    def get(self, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What is kept; fetched anew when it is old, waited for only when it is not `enough`."""
        found = self.read()
        at = dt.datetime.fromisoformat(found["at"]).timestamp() if found else 0.0
        if found and enough(found) and time.time() - at < self.age:
            return found
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                if time.monotonic() - self._failed < (_AGAIN if found and enough(found) else self.soon):
                    return found
                self._thread = threading.Thread(target=self.renew, name="esml-prices", daemon=True)
                self._thread.start()
            thread = self._thread
        if not (found and enough(found)):
            thread.join(_FIRST_WAIT)
            return self.read()
        return found

    def renew(self) -> None:
        """Fetch now; a failure leaves what is there, and is tried again later."""
        try:
            made = {**self.fetch(self.read()), "at": now()}
        except EsmlError as e:
            self._failed = time.monotonic()
            log.warning("%s: %s", self.path.name, e.message)
            return
        replacing.put(self.path, json.dumps(made, indent=1, sort_keys=True))


class Prices:
    """Price per node hour by node type, pay as you go, Linux, in one region and currency."""

    def __init__(self, folder: Path, cloud: Cloud, region: str, currency: str) -> None:
        self.cloud, self.region, self.currency = cloud, region, currency
        self.wanted: set[str] = set()
        self.kept = Kept(folder / f"{region}-{currency}.json", _PRICES_AGE, self._fetch, _known, _SOON)

    def of(self, nodes: Sequence[str]) -> dict[str, float]:
        """Prices of node types (all that are kept, when none is named); a type that is not on the list is left out."""
        asked = {n for n in nodes if n and not n.startswith("local.")}
        if not asked:
            return _priced(self.kept.read())
        self.wanted |= asked
        found = self.kept.get(lambda d: d.get("currency") == self.currency and asked <= set(d["nodes"]))
        return _priced(found)

    def _fetch(self, before: dict[str, Any]) -> dict[str, Any]:
        nodes = sorted(self.wanted | set(before.get("nodes", {})))
        return {
            "region": self.region, "currency": self.currency, "source": self.cloud.prices,
            "nodes": {n: self.one(n) for n in nodes},
        }  # fmt: skip

    def one(self, node: str) -> float | None:
        """A node type's price per hour, None where the list has none.

        Raises:
            PlatformError: the list can't be had.
        """
        quoted = node.replace("'", "''")
        query = (
            f"armRegionName eq '{self.region}' and armSkuName eq '{quoted}' and serviceName eq 'Virtual Machines' "
            "and priceType eq 'Consumption'"
        )
        rest, found = Rest(), []
        url: str | None = self.cloud.prices
        params: dict[str, str] | None = {"currencyCode": f"'{self.currency}'", "$filter": query}
        for _ in range(_PAGES):
            try:
                said = rest.send(f"the price of {node}", "GET", str(url), params).json()
            except (AzureMissingError, AzureDeniedError) as e:  # the list asks for no token: a proxy refused
                hint = f"set prices.\"{node}\" in estate.toml; the list's address is the cloud's, prices in its description"
                raise type(e)(e.message, hint=hint) from e
            found += [float(i["retailPrice"]) for i in said.get("Items", []) if _plain(i)]
            url, params = said.get("NextPageLink"), None
            if not url:
                break
        return min(found, default=None)


def _known(document: dict[str, Any]) -> dict[str, float]:
    """The prices of a document, by node type."""
    found = {k: float(v) for k, v in document["nodes"].items() if v is not None}
    if not all(0 < v < float("inf") for v in found.values()):
        raise ValueError("a price is no amount")
    return found


def _priced(document: dict[str, Any]) -> dict[str, float]:
    return _known(document) if document else {}


def _plain(item: dict[str, Any]) -> bool:
    """An hour of an ordinary Linux node: no spot, no low priority, no Windows."""
    words = f"{item.get('productName', '')} {item.get('skuName', '')} {item.get('meterName', '')}".lower()
    odd = any(w in words for w in ("windows", "spot", "low priority"))
    return str(item.get("unitOfMeasure")) == "1 Hour" and not odd and float(item.get("retailPrice", 0)) > 0


def _next_page(link: str | None) -> str:
    """The mark of the next page in a link; the same question is posted again with it. Empty: that was the last."""
    found = {k.lower(): v for k, v in parse_qs(urlsplit(link or "").query).items()}
    return found.get("$skiptoken", [""])[0]


def _charged(document: dict[str, Any]) -> list[Bill]:
    until = str(document["at"])[:10]
    return [Bill(str(b["project"]), float(b["amount"]), str(b["currency"]), until) for b in document["bills"]]


class Bills:
    """What Cost Management charged this month in the environment's resource group, by the tag `esml-project`."""

    def __init__(self, folder: Path, cloud: Cloud, subscription: str, resource_group: str) -> None:
        self.cloud = cloud
        self.scope = f"/subscriptions/{subscription}/resourceGroups/{resource_group}"
        self.kept = Kept(
            folder / f"bills-{subscription}-{resource_group}.json", _BILLS_AGE, self._fetch, _charged
        )

    def grant(self) -> str:
        """The command that gives this process its right to read costs."""
        return f'az role assignment create --assignee {identity_of(self.cloud).who()} --role "Cost Management Reader" --scope {self.scope}'

    def this_month(self) -> list[Bill]:
        """Charges by project; empty where there are none, or none can be read."""
        month = now()[:7]
        found = self.kept.get(lambda d: d.get("month") == month)
        if found.get("month") != month:
            return []
        return _charged(found)

    def _fetch(self, before: dict[str, Any]) -> dict[str, Any]:
        return {"month": now()[:7], "bills": self.ask()}

    def ask(self) -> list[dict[str, Any]]:
        """The query itself.

        Raises:
            PlatformError: the role is missing, or the service does not answer.
        """
        module = need("azure.mgmt.costmanagement")
        models = need("azure.mgmt.costmanagement.models")
        client = module.CostManagementClient(
            identity_of(self.cloud), base_url=self.cloud.resource_manager.rstrip("/"),
            credential_scopes=[f"{self.cloud.audience}/.default"], retry_policy=limits.policy(), read_timeout=limits.timeout(),
        )  # fmt: skip
        asked = models.QueryDefinition(
            type="ActualCost",
            timeframe="MonthToDate",
            dataset=models.QueryDataset(
                granularity="None",
                aggregation={"totalCost": models.QueryAggregation(name="Cost", function="Sum")},
                grouping=[models.QueryGrouping(type="TagKey", name="esml-project")],
            ),
        )
        with asking("the bills of the month", self.grant, keys="resource_group or subscription"):
            said = client.query.usage(self.scope, asked)
            names = [str(c.name) for c in said.columns or []]
            rows = [dict(zip(names, r, strict=False)) for r in said.rows or []]
            for _ in range(_PAGES):
                skip = _next_page(said.next_link)
                if not skip:
                    break
                said = client.query.usage(self.scope, asked, params={"$skiptoken": skip})
                rows += [dict(zip(names, r, strict=False)) for r in said.rows or []]
            else:
                if _next_page(said.next_link):
                    raise AzureFailedError(
                        f"the bills of the month have more than {_PAGES + 1} pages",
                        hint="a resource group of fewer projects",
                    )
        try:
            return [
                {
                    "project": str(r.get("TagValue") or ""),
                    "amount": float(r["Cost"] if "Cost" in r else r["PreTaxCost"]),
                    "currency": str(r.get("Currency") or ""),
                }
                for r in rows
            ]
        except (TypeError, ValueError, KeyError) as e:
            raise AzureFailedError(
                f"the bills came in columns {', '.join(names)}, which hold no cost",
                hint="report it with the id",
            ) from e
