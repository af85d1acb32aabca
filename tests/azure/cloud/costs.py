"""Money: the price list, what ran, and the query over it."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.azure.cloud import versions as v
from tests.azure.cloud.resources import Workspace
from tests.azure.cloud.wire import Answer, Call, Refusal, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

# an hour in EUR: numbers of the tests, not the market's
HOURLY = {"Standard_DS3_v2": 0.252, "Standard_DS2_v2": 0.126, "Standard_E4s_v3": 0.304, "Standard_NC6": 0.972}
PAGE = 100  # rows of a bill; the service's own are longer
RATES = {"EUR": 1.0, "USD": 1.1}


@dataclass(frozen=True)
class Spend:
    """One bill line: what a day of a resource cost in EUR."""

    subscription: str
    resource_group: str
    day: date
    amount: float
    tags: dict[str, str]
    resource_type: str = "microsoft.machinelearningservices/workspaces"
    service: str = "Virtual Machines"


def charge(
    cloud: Cloud, ws: Workspace, tags: dict[str, str], begun: str | None, ended: str, count: int
) -> None:
    """Bill a run's node hours."""
    if begun is None:
        return
    hours = (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds() / 3600
    cloud.spend.append(
        Spend(
            ws.subscription,
            ws.resource_group,
            datetime.now(UTC).date(),
            hours * count * HOURLY[ws.node],
            dict(tags),
        )
    )


@operation(
    "Query_Usage",
    "POST",
    "/{scope*}/providers/Microsoft.CostManagement/query",
    versions=v.COSTS,
    audience="cost",
)
def query(cloud: Cloud, call: Call) -> Answer:
    """Query_Usage: columns in the order cost, date, groupings, currency; a tag's grouping gives TagKey and TagValue.

    The tag columns stand in no published example (seen in a public recording). Unit of cost: EUR.
    The next page is asked for by the same POST with the link's $skiptoken.
    """
    said = call.json
    scope = re.fullmatch(r"/?subscriptions/([^/]+)(?:/resourceGroups/([^/]+))?", call["scope"], re.IGNORECASE)
    if scope is None:
        raise Refusal(400, "BadRequest", f"Invalid scope {call['scope']}")
    first, last = _between(said)
    rows = [
        s for s in cloud.spend
        if s.subscription == scope[1] and scope[2] in (None,
            s.resource_group) and first <= s.day <= last and _passes(said["dataset"].get("filter"), s)
    ]  # fmt: skip
    data = said["dataset"]
    names = [a["name"] for a in data.get("aggregation", {}).values()] or ["PreTaxCost"]
    groups, daily = data.get("grouping") or [], str(data.get("granularity") or "None") == "Daily"
    sums: dict[tuple[Any, ...], float] = defaultdict(float)
    for s in rows:
        key: list[Any] = [int(s.day.strftime("%Y%m%d"))] if daily else []
        for g in groups:
            key += _values(g, s)
        sums[tuple(key)] += s.amount
    columns = [{"name": n, "type": "Number"} for n in names] + (
        [{"name": "UsageDate", "type": "Number"}] if daily else []
    )
    for g in groups:
        words = ["TagKey", "TagValue"] if g["type"] in ("TagKey", "Tag") else [g["name"]]
        columns += [{"name": w, "type": "String"} for w in words]
    columns.append({"name": "Currency", "type": "String"})
    name = str(uuid.uuid4())
    first, every = int(call.query.get("$skiptoken", "0")), sorted(sums.items())
    page, more = every[first : first + PAGE], None
    if first + PAGE < len(every):
        more = f"{cloud.url}/{call['scope'].strip('/')}/providers/Microsoft.CostManagement/query?api-version={call.query['api-version']}&$skiptoken={first + PAGE}"
    return Answer(
        200,
        {"id": f"/{call['scope'].strip('/')}/providers/Microsoft.CostManagement/query/{name}", "name": name,
            "type": "Microsoft.CostManagement/query",
         "properties": {"nextLink": more, "columns": columns,
             "rows": [[*[round(x, 12)] * len(names), *k, "EUR"] for k, x in page]}},
    )  # fmt: skip


def _between(said: dict[str, Any]) -> tuple[date, date]:
    today, frame = datetime.now(UTC).date(), said.get("timeframe")
    if frame == "Custom":
        period = said.get("timePeriod") or {}
        if not period.get("from") or not period.get("to"):
            raise Refusal(400, "BadRequest", "timePeriod is required for a Custom timeframe")
        return tuple(datetime.fromisoformat(period[k]).date() for k in ("from", "to"))  # type: ignore[return-value]
    begin = today.replace(day=1)
    if frame in ("MonthToDate", "BillingMonthToDate"):
        return begin, today
    if frame in ("TheLastMonth", "TheLastBillingMonth"):
        end = begin - timedelta(days=1)
        return end.replace(day=1), end
    if frame == "WeekToDate":
        return today - timedelta(days=today.weekday()), today
    raise Refusal(400, "BadRequest", f"Invalid timeframe {frame}")


def _values(group: dict[str, str], s: Spend) -> list[str]:
    kind, name = group["type"], group["name"]
    if kind in ("TagKey", "Tag"):
        return [name if name in s.tags else "", s.tags.get(name, "")]
    known = {
        "ResourceType": s.resource_type,
        "ServiceName": s.service,
        "ResourceGroup": s.resource_group,
        "ResourceGroupName": s.resource_group,
    }
    if name not in known:
        raise Refusal(400, "BadRequest", f"Invalid dimension {name}")
    return [known[name]]


def _passes(want: dict[str, Any] | None, s: Spend) -> bool:
    """The filter: and, or, dimensions and tags with the operator In."""
    if not want:
        return True
    if "and" in want:
        return all(_passes(w, s) for w in want["and"])
    if "or" in want:
        return any(_passes(w, s) for w in want["or"])
    kind = "tags" if "tags" in want else "dimensions"
    one = want[kind]
    if one["operator"] != "In":
        raise Refusal(400, "BadRequest", f"Invalid operator {one['operator']}")
    value = (
        s.tags.get(one["name"])
        if kind == "tags"
        else _values({"type": "Dimension", "name": one["name"]}, s)[0]
    )
    return value in one["values"]


@operation("RetailPrices.List", "GET", "/api/retail/prices", versions=None, audience="")
def prices(cloud: Cloud, call: Call) -> Answer:
    """RetailPrices.List (prices.azure.com, no token, no example in the folder; keys after its public reference).

    Beside the plain Linux price of a node stand the rows that a client must not take: Windows, Spot and Low Priority.
    """
    currency = call.query.get("currencyCode", "'USD'").strip("'")
    if currency not in RATES:
        raise Refusal(400, "BadRequest", f"currency {currency} is not known")
    rows = [r for r in _rows(currency, cloud) if _fits(call.query.get("$filter", ""), r)]
    first = int(call.query.get("$skip", "0"))
    page = rows[first : first + 100]
    more = (
        f"{cloud.url}{call.target.split('&$skip')[0]}&$skip={first + 100}"
        if first + 100 < len(rows)
        else None
    )
    return Answer(
        200,
        {
            "BillingCurrency": currency,
            "CustomerEntityId": "Default",
            "CustomerEntityType": "Retail",
            "Items": page,
            "NextPageLink": more,
            "Count": len(page),
        },
    )


def _rows(currency: str, cloud: Cloud) -> list[dict[str, Any]]:
    out = []
    regions = sorted({w.region for w in cloud.workspaces.values()} | {"northeurope"})
    kinds = [("", "", 1.0), ("", " Spot", 0.2), ("", " Low Priority", 0.25), (" Windows", "", 1.8)]
    for region in regions:
        for sku, price in HOURLY.items():
            short = sku.removeprefix("Standard_").replace("_", " ")
            for system, offer, factor in kinds:
                amount = round(price * factor * RATES[currency], 6)
                id = uuid.uuid5(uuid.NAMESPACE_URL, region + sku + system + offer)
                out.append(
                    {"currencyCode": currency, "tierMinimumUnits": 0.0, "retailPrice": amount, "unitPrice": amount,
                        "armRegionName": region,
                     "location": region, "effectiveStartDate": "2024-01-01T00:00:00Z", "meterId": str(id),
                     "meterName": short + offer,
                     "productId": f"DZH{id.hex[:9].upper()}", "skuId": f"DZH{id.hex[:9].upper()}/0001",
                     "productName": f"Virtual Machines {short.split(' ')[0][0]}Sv2 Series{system}",
                     "skuName": short + offer, "serviceName": "Virtual Machines", "serviceId": "DZH313Z7MMC8",
                     "serviceFamily": "Compute",
                     "unitOfMeasure": "1 Hour", "type": "Consumption", "isPrimaryMeterRegion": True, "armSkuName": sku}
                )  # fmt: skip
    return out


def _fits(text: str, row: dict[str, Any]) -> bool:
    """`a eq 'b' and c eq 'd'`; `priceType` is the row's `type`."""
    for part in filter(None, re.split(r"\s+and\s+", text.strip())):
        found = re.fullmatch(r"\(?(\w+)\s+eq\s+'([^']*)'\)?", part)
        if found is None:
            raise Refusal(400, "BadRequest", f"Invalid filter {part!r}")
        if str(row.get("type" if found[1] == "priceType" else found[1])) != found[2]:
            return False
    return True
