"""How long and how often Azure is asked: what a service or a person writes that is no time or number."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from azure.core.pipeline.transport import HttpTransport
from requests.structures import CaseInsensitiveDict

from esml_engine.errors import SettingsError
from esml_engine.platforms.azure import limits
from esml_engine.platforms.azure.errors import AzureBusyError
from esml_engine.platforms.azure.platform import AzurePlatform
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import ended, spec_at

UNREADABLE = ["soon", "1 s", "Wed, 99 Foo 2026", "-"]


@pytest.mark.parametrize("header", ["Retry-After", "x-ms-retry-after-ms"])
@pytest.mark.parametrize("value", UNREADABLE)
def test_a_time_that_cannot_be_read_counts_as_absent(
    azure: Cloud, dev: AzurePlatform, header: str, value: str
) -> None:
    fault = azure.faults.add("Workspaces_Get", times=1, status=429, headers={header: value})
    assert dev.workspace.about.location == "westeurope" and fault.seen == 1
    azure.faults.clear()
    azure.faults.add("Workspaces_Get", times=99, status=429, headers={header: value})
    dev.workspace.forget()
    with pytest.raises(AzureBusyError) as e:
        _ = dev.workspace.about
    assert e.value.hint == "Azure asks to come back later: retry"


@pytest.mark.parametrize("header", ["Retry-After", "retry-after-ms", "x-ms-retry-after-ms"])
@pytest.mark.parametrize("value", ["3600000", "soon"])
def test_a_long_operation_is_looked_at_within_the_longest_wait(header: str, value: str) -> None:
    """Its poller sleeps what the header of an accepted answer says: an hour, or what can't be read."""
    from azure.core.pipeline import Pipeline
    from azure.core.pipeline.policies._utils import get_retry_after
    from azure.core.pipeline.transport import HttpRequest, HttpResponse, HttpTransport

    class Accepted(HttpTransport):  # type: ignore[misc, type-arg]
        def send(self, request: HttpRequest, **_: object) -> HttpResponse:
            answer = HttpResponse(request, None)
            answer.status_code, answer.headers = 202, CaseInsensitiveDict({header: value})
            return answer

        def open(self) -> None: ...
        def close(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...
        def sleep(self, duration: float) -> None: ...

    said = Pipeline(Accepted(), [limits.policy()]).run(HttpRequest("GET", "https://a.test/"))
    wait = get_retry_after(said)
    assert wait is None if value == "soon" else wait == pytest.approx(limits.longest())


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "-1", "four"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for name, ask in (
        ("ESML_AZURE_TRIES", limits.tries),
        ("ESML_AZURE_LONGEST_WAIT", limits.longest),
        ("ESML_AZURE_TIMEOUT", limits.timeout),
    ):
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError, match=name) as e:
            ask()
        assert repr(value) in e.value.message and e.value.hint.startswith("unset it, or write ")
        monkeypatch.setenv(name, "0")
        assert ask() == 0
        monkeypatch.delenv(name)


def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the storage clients of this test would have waited; what a test before it began may still be followed."""
    waits: list[float] = []
    mine, before = threading.get_ident(), HttpTransport.sleep

    def sleep(transport: HttpTransport, duration: float) -> None:
        if threading.get_ident() == mine:
            waits.append(duration)
        else:
            before(transport, duration)

    monkeypatch.setattr(HttpTransport, "sleep", sleep)
    return waits


@pytest.mark.parametrize(("longest", "asked"), [("0.3", ""), ("0.3", "3600"), ("20", "1"), ("20", "soon")])
@pytest.mark.parametrize("status", [429, 503])
def test_the_lakes_waits_are_bounded_and_429_is_repeated(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch, status: int, longest: str, asked: str
) -> None:
    monkeypatch.setenv("ESML_AZURE_TRIES", "6")
    monkeypatch.setenv("ESML_AZURE_LONGEST_WAIT", longest)
    waits = slept(monkeypatch)
    headers = {"Retry-After": asked} if asked else {}
    fault = azure.faults.add("Storage.Any", times=99, status=status, headers=headers)
    with pytest.raises(AzureBusyError):
        dev.read_file("x")
    assert fault.seen == 7 and len(waits) == 6, "once, and six repetitions"
    assert max(waits) <= float(longest)
    if asked == "1":
        assert waits == [1.0] * 6, "as the service asks"
    azure.faults.clear()
    azure.faults.add("Storage.Any", times=6, status=status, headers=headers)
    assert dev.create_file("a/one", b"1") and dev.read_file("a/one") == b"1", (
        "what passes by itself is not seen"
    )


def test_the_lakes_folders_are_made_within_the_same_bounds(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    waits = slept(monkeypatch)
    azure.faults.add("Storage.Any", times=2, status=429)
    dev.make_skeleton(["projects/p1"])
    assert "projects" in dev.folders("") and len(waits) == 2
    with (tmp_path / "big").open("wb") as f:
        f.write(b"x" * 4096)
    azure.faults.add("Storage.Any", times=1, drop=True)
    dev.put_file(tmp_path / "big", "a/big")
    assert dev.read_file("a/big") == b"x" * 4096, "a body that is sent again is whole"


@pytest.mark.parametrize("fault", [{"drop": True}, {"drop": True, "after": True}, {"status": 429}], ids=str)
def test_a_post_whose_answer_was_lost_is_repeated(
    azure: Cloud, dev: AzurePlatform, fault: dict[str, Any]
) -> None:
    """Each of the engine's only reads, or names what it is about."""
    handle = spec_at(dev, f"r-post-{len(fault)}{fault.get('status', '')}")
    dev.submit(handle)
    struck = azure.faults.add("Jobs_Cancel", times=1, **fault)
    azure.recorder.exchanges.clear()
    dev.cancel(handle)
    assert struck.seen == 1
    assert [e.status for e in azure.recorder.of("Jobs_Cancel")][-1] in (200, 202), "heard in the end"
    assert ended(dev, handle).state in ("failed", "done")
