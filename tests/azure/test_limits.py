"""How long and how often Azure is asked: what a service or a person writes that is no time or number."""

from __future__ import annotations

import pytest

from esml_engine.errors import SettingsError
from esml_engine.platforms.azure import limits
from esml_engine.platforms.azure.errors import AzureBusyError
from esml_engine.platforms.azure.platform import AzurePlatform
from tests.azure.cloud.stand_in import Cloud

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
