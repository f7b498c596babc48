"""What cache keys ask of a module's source, read and parsed once for as long as the source stays as it is.

Parsing a hundred modules and writing down their trees takes half a second of every run. What came of it is kept beside
Python's own byte-code, for our own two packages: by the digest of each source, so that an edit in the same instant is
seen as well. A user's own modules are parsed in each process.
"""

from __future__ import annotations

import ast
import atexit
import hashlib
import importlib.util
import json
import os
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import RLock
from typing import NamedTuple

# Python before 3.11.8 counts the depth of a tree for all threads together: of two that build one at once, either may
# find it miscounted. Ours take turns; a library's may come between, and then it is built again.
LOCK = RLock()
_ATTEMPTS, _PAUSE_SECONDS = 100, 0.01
_HOME = Path(__file__).resolve().parents[2]
_OURS = ("flows", "tasks")


class Code(NamedTuple):
    """What is asked of a module's source."""

    imports: list[str]
    """Every module that it imports, at its top or inside a function; ``from a import b`` may name a.b."""
    queries: list[str]
    """What it names in ``query("name")``."""
    tree: str
    """Digest of its syntax tree, without comments, layout and docstrings."""


def code_of(path: Path, module: str, mtime: int) -> Code:
    """What is asked of one module's source; one thread after the other, so that whoever comes later finds it read.

    Args:
        path: the source file.
        module: its dotted name, from which its relative imports count.
        mtime: nanoseconds of its last change: as long as it is the same, the source is not read again.
    """
    with LOCK:
        return _read(path, module, mtime)


@cache
def _read(path: Path, module: str, mtime: int) -> Code:  # noqa: ARG001  changed: only to miss the cache
    source = path.read_bytes()
    if module.partition(".")[0] not in _OURS or not path.is_relative_to(_HOME):
        return _parse(source, path, module)
    return _kept().of(source, path, module)


class _Kept:
    """The file of what was parsed, by module: the source's digest and what came of it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        # Of another Python, or of other code that parses, the same source may give another digest.
        self._maker = [sys.version, hashlib.sha256(Path(__file__).read_bytes()).hexdigest()]
        self._entries: dict[str, list] = self._load()
        self._has_more = False

    def _load(self) -> dict[str, list]:
        """What the file holds; nothing of one that is damaged or of another maker."""
        with suppress(OSError, ValueError):
            digest, _, body = self._file.read_bytes().partition(b"\n")
            if digest == hashlib.sha256(body).hexdigest().encode():
                content = json.loads(body)
                return content["modules"] if content["maker"] == self._maker else {}
        return {}

    def of(self, source: bytes, path: Path, module: str) -> Code:
        """As ``_parse`` says it, from the file if the source is the one that was parsed."""
        # A package counts its relative imports from elsewhere than a module of the same source.
        digest = hashlib.sha256(f"{path.name}\n".encode() + source).hexdigest()
        entry = self._entries.get(module)
        if entry is None or entry[0] != digest:
            entry = self._entries[module] = [digest, *_parse(source, path, module)]
            if not self._has_more and not sys.dont_write_bytecode:
                self._has_more = True
                atexit.register(self.write)
        return Code(*entry[1:])

    def write(self) -> None:
        """Write it aside and rename it; whoever may not write here parses in each process."""
        body = json.dumps({"maker": self._maker, "modules": self._load() | self._entries}).encode()
        aside = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        with suppress(OSError):
            self._file.parent.mkdir(exist_ok=True)
            aside.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            aside.replace(self._file)
        with suppress(OSError):
            aside.unlink()


@cache
def _kept() -> _Kept:
    return _Kept(Path(importlib.util.cache_from_source(__file__)).with_suffix(".json"))


def _tree(source: bytes) -> ast.Module:
    for _ in range(_ATTEMPTS - 1):
        with suppress(SystemError):
            return ast.parse(source)
        time.sleep(_PAUSE_SECONDS)
    return ast.parse(source)


def _parse(source: bytes, path: Path, module: str) -> Code:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imports, queries, tree = [], [], _tree(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            imports += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id == "query":
                queries += [str(first.value) for first in node.args[:1] if isinstance(first, ast.Constant)]
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            isinstance(node.body[0] if node.body else None, ast.Expr)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return Code(imports, queries, hashlib.sha256(ast.dump(tree).encode()).hexdigest())
