"""A lake in folders of this machine. Nothing is copied to be read: files are where they are."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from esml_engine.errors import PlatformError


def _unusable(e: OSError) -> PlatformError:
    return PlatformError(
        f"the lake can't be used at {e.filename}: {e.strerror}",
        hint="put the folder back, or give the engine's user the right to it",
    )


def _readable(e: OSError) -> None:
    """A folder that is not there holds nothing; one that can't be read may hold anything."""
    if not isinstance(e, FileNotFoundError):
        raise _unusable(e) from e


class LocalFiles:
    """Files below `root`; full paths may lie elsewhere."""

    def __init__(self, root: Path) -> None:
        self.lake = root

    def lake_root(self) -> str:
        return str(self.lake)

    def storage_options(self) -> dict[str, str]:
        return {}

    def make_skeleton(self, folders: list[str]) -> None:
        for f in folders:
            try:
                (self.lake / f).mkdir(parents=True, exist_ok=True)
            except (NotADirectoryError, FileExistsError, PermissionError) as e:
                raise _unusable(e) from e

    def folders(self, folder: str) -> list[str]:
        here = self.lake / folder
        return sorted(p.name for p in here.iterdir() if p.is_dir()) if here.is_dir() else []

    def put_file(self, source: Path, target: str) -> None:
        with source.open("rb") as a, self._new(target) as new:
            with new.open("wb") as b:
                shutil.copyfileobj(a, b, 1 << 20)
                b.flush()
                os.fsync(b.fileno())
            new.replace(self.lake / target)

    @contextmanager
    def _new(self, target: str) -> Iterator[Path]:
        """A name beside `target` for what is not whole yet."""
        goal = self.lake / target
        goal.parent.mkdir(parents=True, exist_ok=True)
        new = goal.with_name(f".{goal.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            yield new
        finally:
            new.unlink(missing_ok=True)

    def list_files(self, folder: str) -> list[tuple[str, int, int]]:
        out = []
        for here, _, names in os.walk(self.lake / folder, onerror=_readable):
            for n in names:
                if not n.startswith("."):
                    p = Path(here) / n
                    try:
                        s = p.stat()
                    except FileNotFoundError:  # gone since the folder was read
                        continue
                    below = p.relative_to(self.lake) if p.is_relative_to(self.lake) else p
                    out.append((str(below), s.st_size, s.st_mtime_ns))
        return sorted(out)

    def read_file(self, name: str) -> bytes | None:
        try:
            return (self.lake / name).read_bytes()
        except FileNotFoundError:
            return None

    def write_file(self, name: str, content: bytes) -> None:
        with self._new(name) as new:
            new.write_bytes(content)
            new.replace(self.lake / name)

    def create_file(self, name: str, content: bytes) -> bool:
        with self._new(name) as new:
            new.write_bytes(content)
            with suppress(FileExistsError):
                os.link(new, self.lake / name)
                return True
        return False

    def remove_file(self, name: str) -> None:
        (self.lake / name).unlink(missing_ok=True)

    def here(self, folder: str, names: Sequence[str] | None = None, *, fixed: bool = True) -> str:
        return str(self.lake / folder)

    def drafts(self, folder: str) -> str:
        return str(self.lake / folder)

    def hand_in(self, folder: str, names: Sequence[str]) -> None:
        """They are there."""
