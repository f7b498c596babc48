"""Cache keys by content: a stage is recomputed exactly when its inputs, its options or its code changed.

Prefect hashes a task's own source and nothing it calls; here the key covers every module the stage imports,
transitively, within its own package (as syntax trees without docstrings, so that a comment costs nothing), and the
versions of the libraries they import.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tasks.core.plugins import Choice, Component
from tasks.pipeline.artefacts import Artefact, Bundle, Run, artefact_list
from tasks.pipeline.durable_files import sha256_of
from tasks.pipeline.result_records import Store, is_of_artefacts, record_bytes
from tasks.pipeline.source_code import LOCK, Code, code_of

# Import names that are not the names of their distributions.
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "pyyaml"}
# What decides how a stage is run, retried, shown or refused, and not what comes out of it.
_NOT_RESULTS = {
    "prefect",
    "rich",
    "pydantic",
    "jaxtyping",
    "tasks.pipeline.step",
    "tasks.pipeline.assets",
    "tasks.core.progress",
    "tasks.core.errors",
}
_PACKAGE = f"{os.sep}__init__.py"
# Nanoseconds, of which the finest clock of a file system is sure to tell two changes apart.
_MOMENT = 1_000_000_000


class _Task(Protocol):
    name: str
    fn: Any


class TaskContext(Protocol):
    """What is used of Prefect's task run context."""

    @property
    def task(self) -> _Task: ...
    @property
    def result_store(self) -> Store: ...


def content_key(context: TaskContext, parameters: dict[str, Any]) -> str:
    """The cache key of one task call.

    A reference whose files have been deleted does not count, nor does a record that no step of ours has left so: the
    key then moves on to its next generation, so the stage is recomputed instead of failing later.
    """
    run = next(value for value in parameters.values() if isinstance(value, Run))
    content = {
        "task": context.task.name,
        "code": code_digest([context.task.fn.__module__]),
        "inputs": {name: _content(value) for name, value in sorted(parameters.items())},
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    generation = 0
    while True:
        candidate = f"{context.task.name}-{key}-{generation}"
        store = context.result_store
        record = record_bytes(store, candidate)
        if record is None or (is_of_artefacts(record) and _is_whole(run, store.read(candidate).result)):
            return candidate
        generation += 1


def _is_whole(run: Run, result: Artefact | list[Artefact]) -> bool:
    """Whether a result that was kept is the one that was made: what it says of itself, and its files.

    What is made in the cache has a digest that covers its facts; a recorded run is called by its id.
    """
    made = [artefact for artefact in artefact_list(result) if artefact.folder.startswith("cache/")]
    return all(artefact.is_consistent for artefact in made) and run.intact(result)


def _content(value: Any) -> Any:
    """The part of an argument that decides the result, as JSON."""
    match value:
        case Run():
            return None
        case Artefact():
            return value.digest
        case Bundle():
            fields = [name for name in type(value).model_fields if name not in value.only_shown]
            return {name: _content(getattr(value, name)) for name in fields}
        case Choice():
            return _content(value.component)
        case Component():
            # The nested parts' code is reached through the imports of the outer one's module.
            return [type(value).__qualname__, value.model_dump(mode="json"), value.fingerprint(), _code_of(value)]
        case list() | tuple():
            return [_content(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(
                f"a {type(value).__name__} cannot be part of a cache key; pass an Artefact, Component, scalar"
            )


def _code_of(part: Component) -> str:
    return code_digest([type(part).__module__])


def code_digest(modules: list[str]) -> str:
    """Digest of the named modules, of all they import within their own top-level packages, and of library versions."""
    with LOCK:  # tasks of several threads ask at once, and what is kept is one for all
        return _code_digest(modules)


def _code_digest(modules: list[str]) -> str:
    places = _Places.now()
    ours: dict[str, Code] = {}
    libraries: set[str] = set()
    queue = list(modules)
    while queue:
        name = queue.pop()
        if name in ours or name in _NOT_RESULTS or (path := places.source_of(name)) is None:
            continue
        ours[name] = code_of(path, name, path.stat().st_mtime_ns)
        below, others = places.imports_of(name, path, ours[name])
        queue += below
        libraries |= others
    content = [[name, ours[name].tree] for name in sorted(ours)]
    content += [[path.name, sha256_of(path)] for path in _queries(ours.values(), places)]
    versions = [[name, _version(name)] for name in sorted(libraries - sys.stdlib_module_names - _NOT_RESULTS)]
    return hashlib.sha256(json.dumps([content, versions]).encode()).hexdigest()


def _queries(sources: Iterable[Code], places: _Places) -> list[Path]:
    """The SQL files that modules name in ``query("name")``: a decision written in SQL is code too."""
    home = places.source_of("tasks")
    names = {name for source in sources for name in source.queries}
    return [home.parent / f"{name}.sql" for name in sorted(names)] if home else []


class _Places:
    """Where modules are found: below a package kept as long as all folders that were looked into are as they were.

    A run asks thirty times for the digest of a hundred modules that import thousands of names.
    """

    _kept: ClassVar[_Places | None] = None

    def __init__(self) -> None:
        self._roots: dict[str, Path | None] = {}
        self._below: dict[tuple[Path, str], Path | None] = {}
        self._imports: dict[tuple[Path, str], tuple[Code, list[str], dict[str, list[str]]]] = {}
        self._stamps: dict[str, tuple[int, ...] | None] = {}

    @classmethod
    def now(cls) -> _Places:
        """What is kept of earlier calls, if it is still so; what a top-level name is, is asked at each call."""
        kept = cls._kept
        if kept is None or any(stamp is None or _stamp(folder) != stamp for folder, stamp in kept._stamps.items()):
            kept = cls._kept = cls()
        kept._roots = {}
        return kept

    def source_of(self, module: str) -> Path | None:
        """The source file of a module, or of the package it names; None for a name inside a module."""
        root, _, rest = module.partition(".")
        if root not in self._roots:
            spec = importlib.util.find_spec(root)
            self._roots[root] = Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
        home = self._roots[root]
        if home is None or not rest:
            return home
        if (home, module) not in self._below:
            self._below[home, module] = self._look(str(home), rest.split("."))
        return self._below[home, module]

    def _look(self, here: str, names: list[str]) -> Path | None:
        """Found on the path and not by ``find_spec``, which imports every parent of a dotted name, torch and all."""
        # Text and not paths: there are thousands of names.
        for name in names:
            if not here.endswith(_PACKAGE):
                return None
            folder = here.removesuffix(_PACKAGE)
            below = f"{folder}{os.sep}{name}"
            self._watch(folder)
            if os.path.isdir(below):  # noqa: PTH112
                self._watch(below)
            source = next((path for path in (f"{below}.py", below + _PACKAGE) if os.path.isfile(path)), None)  # noqa: PTH113
            if source is None:
                return None
            here = source
        return Path(here)

    def _watch(self, folder: str) -> None:
        """Remember a folder as it is, before it is looked into."""
        if folder not in self._stamps:
            self._stamps[folder] = _stamp(folder)

    def imports_of(self, module: str, path: Path, code: Code) -> tuple[list[str], set[str]]:
        """(the modules that one imports which are ours or the user's own, the top-level names of all others)."""
        kept = self._imports.get((path, module))
        if kept is None or kept[0] is not code:
            tops: dict[str, list[str]] = {}
            for name in code.imports:
                tops.setdefault(name.partition(".")[0], []).append(name)
            ours = [name for name in tops.pop(module.partition(".")[0], []) if self.source_of(name)]
            kept = self._imports[path, module] = (code, ours, tops)
        _, ours, tops = kept
        own = [top for top in tops if self._is_own(top)]
        return ours + [name for top in own for name in tops[top]], tops.keys() - set(own)

    def _is_own(self, root: str) -> bool:
        """Whether a top-level name is the user's own file (a module beside a custom model's), no installed library."""
        if root in sys.stdlib_module_names:
            return False
        path = self.source_of(root)
        return path is not None and not {"site-packages", "dist-packages"} & set(path.parts)


def _stamp(folder: str) -> tuple[int, ...] | None:
    """What changes of a folder with the names in it; None of one that changed a moment ago and may again unseen."""
    try:
        about = os.stat(folder)  # noqa: PTH116
    except OSError:
        return ()
    return None if time.time_ns() - about.st_mtime_ns < _MOMENT else (about.st_dev, about.st_ino, about.st_mtime_ns)


@cache
def _version(library: str) -> str:
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(library, library))
    except importlib.metadata.PackageNotFoundError:
        return ""
