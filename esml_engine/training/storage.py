"""Models as folders that cannot run code when loaded: no pickle in any form, and the hash is checked first.

A folder holds `model.json` (what it is) and one file a fitted part: LightGBM's text, XGBoost's UBJSON, Perpetual's
JSON, and skops for scikit-learn's, loaded with the list of trusted types that stands here and nowhere else.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from esml_engine.errors import EsmlError, FailedError, UsageError
from esml_engine.training.causes import cause
from esml_engine.training.models import stored_forest
from esml_engine.training.models.class_model import EnsembleClassifier, EstimatorClassifier
from esml_engine.training.models.classes import Classes
from esml_engine.training.models.custom_model import EstimatorModel
from esml_engine.training.models.learners import XGBOOST
from esml_engine.training.models.model import EnsembleModel, Member, Predictor
from esml_engine.training.models.preparing import Preparing
from esml_engine.training.series.model import SeriesModel
from esml_engine.training.series.storing import load_series, save_series

FORMAT = 2
_READS = (1, FORMAT)  # in 1 a forest was kept as a whole estimator
MODEL_FILE = "model.json"
_CHUNK = 1 << 20

# beside scikit-learn's, NumPy's and SciPy's public types that skops itself trusts
TRUSTED_TYPES: tuple[str, ...] = (
    "sklearn.tree._tree.Tree",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss._loss.CyHalfSquaredError",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss._loss.CyHalfMultinomialLoss",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.compose._column_transformer._RemainderColsList",
    "numpy.dtype",  # what an imputer learned its fill values of
)

PACKAGES = (
    "lightgbm",
    "xgboost-cpu",
    "xgboost",
    "perpetual",
    "scikit-learn",
    "skops",
    "numpy",
    "pyarrow",
    "pandas",
    "statsmodels",
)


class ChangedModelError(FailedError):
    """The model's bytes are not those that were registered: it is not loaded."""

    code = "model_changed"


def versions() -> dict[str, str]:
    """Versions of the packages that a model may rest on, those that are installed."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def content_hash(folder: str | Path) -> str:
    """sha256 (hex) over every file below `folder`: relative name, size and bytes, in the order of the names."""
    root = Path(folder)
    digest = hashlib.sha256()
    for path in sorted(
        (p for p in root.rglob("*") if p.is_file()), key=lambda p: p.relative_to(root).as_posix()
    ):
        # name and size in front of the bytes: no two folders can flow together into the same stream
        digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def save(model: Predictor, folder: str | Path) -> str:
    """Write a model into a new (or emptied) folder and answer its `content_hash`.

    Raises:
        UsageError: the model holds an estimator that can't be stored without pickle.
    """
    root = Path(folder)
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    document: dict[str, Any] = {
        "format": FORMAT,
        "task": model.task,
        "label": model.label,
        "signature": model.signature,
        "example": model.example,
        "packages": versions(),
    }
    if model.classes:
        document["classes"] = list(model.classes.values)
    if isinstance(model, EnsembleModel):
        document |= {
            "kind": "ensemble",
            "preparing": model.preparing.to_json(),
            "members": _save_members(model, root),
        }
    elif isinstance(model, EstimatorModel):
        name = f"estimator{_SUFFIX[model.library]}"
        _WRITE[model.library](model.estimator, root / name)
        document |= {"kind": "estimator", "library": model.library, "file": name, "class": model.class_name}
    elif isinstance(model, SeriesModel):
        document |= save_series(model, root, _write_lightgbm)
    else:
        raise UsageError(f"a model of type {type(model).__name__} can't be stored")
    (root / MODEL_FILE).write_text(json.dumps(document, indent=1, allow_nan=False), encoding="utf-8")
    return content_hash(root)


def load(folder: str | Path, sha256: str | None = None) -> Predictor:
    """Read a model from its folder.

    Args:
        sha256: the registered `content_hash`; checked before anything else is read.

    Raises:
        ChangedModelError: the bytes are others than registered.
        FailedError: the folder is no model of this format or a part can't be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ChangedModelError(
            f"the model's folder …/{'/'.join(root.parts[-4:])} is not there any more",  # it is read beyond this machine too
            hint="bring it back from where it went, or from a backup, or roll back to another version",
        )
    if sha256 is not None and (found := content_hash(root)) != sha256:
        raise ChangedModelError(
            f"the model's files have hash {found[:12]}…, registered is {sha256[:12]}…: it is not loaded",
            hint="restore the model's files, or roll back to another version",
        )
    try:
        raw = json.loads((root / MODEL_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise FailedError(f"{root.name} holds no readable {MODEL_FILE}: {e}") from e
    if raw.get("format") not in _READS:
        raise FailedError(
            f"the model has format {raw.get('format')!r}, this engine reads {' and '.join(map(str, _READS))}"
        )
    try:
        return _build(root, raw)
    except EsmlError:
        raise
    except Exception as e:
        raise FailedError(f"the model in {root.name} can't be read: {cause(e)}") from e


def _build(root: Path, raw: Mapping[str, Any]) -> Predictor:
    classes = Classes(tuple(raw.get("classes", ())))
    label, example, task = raw["label"], raw["example"], raw["task"]
    if raw["kind"] == "ensemble":
        members = [_load_member(root, m, len(classes)) for m in raw["members"]]
        preparing = Preparing.from_json(raw["preparing"])
        if classes:
            return EnsembleClassifier(members, preparing, label, example, classes)
        return EnsembleModel(members, preparing, label, example, task)
    if raw["kind"] == "estimator":
        estimator = _READ[raw["library"]](_inside(root, raw["file"]))
        given = (estimator, raw["library"], raw["class"], raw["signature"], label, example)
        if classes:
            return EstimatorClassifier(*given, classes)
        return EstimatorModel(*given, task)
    if raw["kind"] == "series":
        return load_series(root, raw, _inside, _read_lightgbm)
    raise FailedError(f"the model is of unknown kind {raw['kind']!r}")


def _inside(root: Path, name: str) -> Path:
    """A part's file: only what the hash covers may be read."""
    if Path(name).name != name:
        raise FailedError(f"the model names a file outside its folder: {name}")
    return root / name


def _save_members(model: EnsembleModel, root: Path) -> list[dict[str, Any]]:
    described = []
    for i, member in enumerate(model.members):
        library = _LIBRARY[member.kind]
        files = [f"member{i:02d}_part{j:02d}{_SUFFIX[library]}" for j in range(len(member.parts))]
        for name, part in zip(files, member.parts, strict=True):
            _WRITE_OURS[library](part, root / name)
        described.append(
            {"kind": member.kind, "params": member.params, "weight": member.weight, "files": files}
        )
    return described


def _load_member(root: Path, raw: Mapping[str, Any], classes: int) -> Member:
    read = _READ[_LIBRARY[raw["kind"]]]
    parts = tuple(read(_inside(root, f)) for f in raw["files"])
    return Member(raw["kind"], raw["params"], parts, raw["weight"], classes)


def _write_lightgbm(part: Any, path: Path) -> None:
    path.write_text(part.model_to_string(num_iteration=-1), encoding="utf-8")


def _read_lightgbm(path: Path) -> Any:
    import lightgbm as lgb

    return lgb.Booster(model_str=path.read_text(encoding="utf-8"))


def _write_xgboost(part: Any, path: Path) -> None:
    with XGBOOST:
        raw = bytes(part.save_raw("ubj"))
    path.write_bytes(raw)


def _read_xgboost(path: Path) -> Any:
    import xgboost as xgb

    return xgb.Booster(model_file=bytearray(path.read_bytes()))


def _write_perpetual(part: Any, path: Path) -> None:
    part.save_booster(str(path))


def _read_perpetual(path: Path) -> Any:
    from perpetual import PerpetualBooster

    return PerpetualBooster.load_booster(str(path))


def _write_forest(part: Any, path: Path) -> None:
    _write_our_sklearn(stored_forest.bare(part), path)


def _read_forest(path: Path) -> Any:
    stored = _read_sklearn(path)
    return stored_forest.whole(stored) if stored_forest.is_bare(stored) else stored


def _write_our_sklearn(part: Any, path: Path) -> None:
    """An estimator of the engine's own kinds: its types are known, and checked again on load."""
    import zipfile

    import skops.io as sio

    sio.dump(part, path, compression=zipfile.ZIP_STORED)


def _write_sklearn(part: Any, path: Path) -> None:
    """A user's estimator."""
    import zipfile

    import skops.io as sio

    try:
        sio.dump(part, path, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
    except (TypeError, ValueError, AttributeError, NotImplementedError) as e:
        raise UsageError(f"{type(part).__name__} can't be stored without pickle: {e}", hint=_ACCEPTED) from e
    foreign = sorted(set(sio.get_untrusted_types(file=path)) - set(TRUSTED_TYPES))
    if foreign:
        path.unlink()
        raise UsageError(
            f"{type(part).__name__} holds types that are not trusted on load: {', '.join(foreign)}",
            hint=_ACCEPTED,
        )


def _read_sklearn(path: Path) -> Any:
    import skops.io as sio
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return sio.load(path, trusted=list(TRUSTED_TYPES))
    except UntrustedTypesFoundException as e:
        raise FailedError(f"the model file {path.name} holds types that are not trusted: {e}") from e


_ACCEPTED = "accepted are estimators of scikit-learn, LightGBM and XGBoost"
_LIBRARY = {
    "lightgbm": "lightgbm",
    "xgboost": "xgboost",
    "perpetual": "perpetual",
    "extra_trees": "forest",
    "linear": "sklearn",
}
_SUFFIX = {
    "lightgbm": ".txt",
    "xgboost": ".ubj",
    "perpetual": ".json",
    "sklearn": ".skops",
    "forest": ".skops",
}
_WRITE: dict[str, Callable[[Any, Path], None]] = {
    "lightgbm": _write_lightgbm,
    "xgboost": _write_xgboost,
    "perpetual": _write_perpetual,
    "sklearn": _write_sklearn,
}
_WRITE_OURS = {**_WRITE, "sklearn": _write_our_sklearn, "forest": _write_forest}
_READ: dict[str, Callable[[Path], Any]] = {
    "lightgbm": _read_lightgbm,
    "xgboost": _read_xgboost,
    "perpetual": _read_perpetual,
    "sklearn": _read_sklearn,
    "forest": _read_forest,
}
