"""The engine without Azure's packages: it works, and using the azure platform names what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOGETHER = """
import threading
from esml_engine.platforms.azure.extra import need

names = ["azure.core", "azure.core.exceptions", "azure.core.pipeline.policies", "azure.storage.blob", "azure.core.rest"] * 2
start, wrong = threading.Barrier(len(names)), []

def one(name):
    start.wait()
    try:
        need(name)
    except BaseException as e:
        wrong.append(f"{name}: {type(e).__name__} {e}")

threads = [threading.Thread(target=one, args=(n,)) for n in names]
for t in threads:
    t.start()
for t in threads:
    t.join()
raise SystemExit("; ".join(wrong) or 0)
"""
PROGRAM = """
import sys

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name == "azure" or name.startswith(("azure.", "msal", "msrest")):
            raise ImportError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Gone())
from pathlib import Path
from esml_engine.errors import EsmlError
from esml_engine.estate import init_estate, open_estate

root = Path(sys.argv[1])
init_estate(root, ["dev", "test"])
text = (root / "estate.toml").read_text()
azure = '''platform = "azure"
subscription = "00000001-aaaa-4bbb-8ccc-dddddddddddd"
resource_group = "rg"
workspace = "mlw-test"
storage_account = "stesmltest"
file_system = "lake"
key_vault = "kv-esml-test"
region = "westeurope"
compute = "cpu"
'''
head, found, tail = text.partition("[environments.test]")
assert found
(root / "estate.toml").write_text(head + found + "\\n" + azure + tail.partition('platform = "local"')[2].split("\\n", 1)[1])
estate = open_estate(root)
assert estate.site.platform("dev").check()
platform = estate.site.platform("test")  # opening it asks nothing
rows = platform.check()
assert not rows[0]["ok"] and "pip install 'esml-cockpit[azure]'" in rows[0]["hint"], rows
for use in (lambda: platform.read_file("x"), platform.storage_options, platform.tracking_uri, lambda: platform.put_secret("a", "b")):
    try:
        use()
    except EsmlError as e:
        assert "pip install 'esml-cockpit[azure]'" in e.hint, e.hint
    else:
        raise AssertionError("it went without the packages")
assert not [m for m in sys.modules if m.split(".")[0] == "azure"]
print("ok")
"""


def test_without_the_extra(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "e")], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.strip().endswith("ok"), done.stderr[-3000:]


def test_opening_an_azure_environment_imports_none_of_azure() -> None:
    code = "import sys; import esml_engine.platforms.azure.platform; print([m for m in sys.modules if m.split('.')[0] in ('azure', 'msal', 'mlflow')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_threads_may_ask_for_the_packages_at_once() -> None:
    """A worker's threads all begin with a call to Azure; Python's import refuses such a race as a deadlock."""
    done = subprocess.run([sys.executable, "-c", TOGETHER], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
