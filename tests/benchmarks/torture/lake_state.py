"""What a lake holds, so that two may be compared byte for byte, and whether it can be read at all.

Masked, for they cannot be the same twice:

- moments (ISO 8601), wherever they stand in a text;
- the ids of runs that the compared trial made itself;
- the digest of a page's own script, which names the run;
- the catalogue's file, of which the views are compared: DuckDB's blocks differ between two writings;
- in manifests and in the log what is a digest of text with moments in it: seals, what a link says of manifests, and
  what a run's manifest says of its documents. Whether they are a chain, and those documents, is asked in place of that;
- which commit of the code a manifest was made with: somebody may commit while this runs;
- the numbers of links: vacuum writes down what will go before it goes, and once more after a kill between the two.

Left out: ``log.jsonl``, which is looked at line by line, ``locks/``, and what Prefect keeps for itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Set
from pathlib import Path
from typing import Any

import duckdb

from tasks.catalogue.database import NAME
from tasks.catalogue.relations import has
from tasks.catalogue.views import WHOLE, definition
from tasks.pipeline.artefacts import MANIFEST
from tasks.pipeline.durable_files import PARTIAL
from tasks.pipeline.recorded_run import RecordedRun
from tasks.pipeline.run_documents import altered_documents
from tasks.versions.chain import Chain
from tasks.versions.histories import histories
from tasks.versions.object_store import Objects

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d:\d\d|Z)?")
_RUN = re.compile(r"\b[A-Za-z]\w*-\d{8}T\d{6}-[0-9a-f]{4}\b")
_SCRIPT = re.compile(r"'sha256-[A-Za-z0-9+/]{43}='")
_COMMIT = re.compile(r"\d+\.\d+\.\d+(\+g[0-9a-f]+)?(, with changes)?, content [0-9a-f]{16}")
_TEXT = {".json", ".yaml", ".html", ".md", ".txt", ".csv"}
VERSIONS = f"versions/{WHOLE}/v*.json"
_LEFT_OUT = ("log.jsonl", "locks", "cache/results", ".prefect")
# Digests of documents that have moments in them.
_SEALS = ("seal", "adopted", "sha256", "code", "documents")
_DOCUMENT = re.compile(r"(versions|store)/[^/]+/(v\d{4}|log/\d{6}|tags/.*)\.json|runs/[^/]+/manifest\.json")
_LINK = re.compile(r"/log/\d{6}\.json")

State = dict[str, list[str]]
"""Masked name → digests of what lies under such names."""


def ids(lake: Path) -> set[str]:
    """Of the runs of a lake."""
    return {path.name for path in (lake / "runs").glob("[!.]*")}


def mask(text: str, known: Set[str]) -> str:
    """A text without what cannot be the same twice; ``known`` are the runs that keep their names."""
    text = _RUN.sub(lambda found: found[0] if found[0] in known else "RUN", text)
    return _COMMIT.sub("COMMIT", _SCRIPT.sub("SCRIPT", _MOMENT.sub("MOMENT", text)))


def _unsealed(value: Any, *, below: str = "") -> Any:
    """A document without its seals and a link's number; of files that a manifest names the digests stay."""
    match value:
        case dict():
            masked = {name for name in _SEALS if name != "sha256" or below == "removed"}
            masked |= {"number"} if "adopted" in value else set()
            return {name: "SEAL" if name in masked else _unsealed(one, below=name) for name, one in value.items()}
        case list():
            return [_unsealed(one, below=below) for one in value]
        case _:
            return value


def state(lake: Path, known: Set[str]) -> State:
    """Everything in a lake; ``known`` are the runs that keep their names. Where it lies, and its source beside it, is
    masked too."""
    digests: dict[str, set[str]] = defaultdict(set)
    for home, _, names in os.walk(lake):
        for name in names:
            path = Path(home) / name
            place = path.relative_to(lake).as_posix()
            if place.startswith(_LEFT_OUT) or (place.startswith("store/") and PARTIAL in place):
                continue
            if place == NAME:
                data = mask(_views(path).replace(str(lake.parent), "HOME"), known).encode()
            elif path.suffix in _TEXT:
                text = path.read_text(encoding="utf-8", errors="surrogateescape")
                text = json.dumps(_unsealed(json.loads(text))) if _DOCUMENT.fullmatch(place) else text
                data = mask(text.replace(str(lake.parent), "HOME"), known).encode(errors="surrogateescape")
            else:
                data = path.read_bytes()
            digests[_LINK.sub("/log/LINK.json", mask(place, known))].add(hashlib.sha256(data).hexdigest()[:16])
    return {place: sorted(found) for place, found in sorted(digests.items())}


def _views(path: Path) -> str:
    with duckdb.connect(str(path), read_only=True) as db:
        return json.dumps(
            db.execute("SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY 1").fetchall()
        )


def differences(expected: State, actual: State) -> list[str]:
    """What is missing, what is there besides, and what is another."""
    lines = [f"missing: {name}" for name in expected.keys() - actual.keys()]
    lines += [f"besides: {name}" for name in actual.keys() - expected.keys()]
    lines += [f"another: {name}" for name in expected.keys() & actual.keys() if expected[name] != actual[name]]
    return sorted(lines)


def partials(lake: Path) -> list[str]:
    """What is half-written in a lake; in a store elsewhere vacuum clears it away when its time is over."""
    names = (path.relative_to(lake).as_posix() for path in lake.rglob(f"*{PARTIAL}*"))
    return sorted(name for name in names if not name.startswith("store/"))


def unreadable(lake: Path) -> list[str]:
    """Whatever a reader would stumble over, at whatever moment a writer was killed."""
    wrong = []
    try:
        for record in RecordedRun.all_of(lake):
            folder = lake / "runs" / record.run_id
            wrong += [
                f"{record.run_id} lacks {f.name}"
                for s in record.stages
                for f in s.files
                if _lacks(folder / f.name, f.size)
            ]
            wrong += [f"{record.run_id}: another {name}" for name in altered_documents(folder / MANIFEST)]
        for history in histories(Objects(lake / "versions")).found if (lake / "versions").is_dir() else []:
            for manifest in history.manifests():
                wrong += [f"{manifest.version} lacks {name}" for name in history.missing(manifest.rows_of)]
            wrong += [f"chain: {check.detail}" for check in Chain(history).of_all() if check.state == "wrong"]
            numbers = history.numbers()
            for tag, version in history.tags().items():
                wrong += [] if int(version[1:]) in numbers else [f"{tag} points at {version}, which is not there"]
        # What a reader's views would say, and the file as it lies there: to make the views takes a second of CPU.
        definition(lake)
        # Versions are away for a moment where they begin to lie elsewhere.
        if ids(lake) and (lake / NAME).exists() and has(lake, VERSIONS):
            with duckdb.connect(str(lake / NAME), read_only=True) as db:
                db.execute("SELECT count(*) FROM runs").fetchall()
                db.execute("SELECT count(*) FROM versions").fetchall()
        if (log := lake / "log.jsonl").exists():
            wrong += [f"log.jsonl: {line[:60]!r}" for line in log.read_text().splitlines() if not _is_json(line)]
    except Exception as error:  # noqa: BLE001  whatever a reader meets with
        wrong.append(f"{type(error).__name__}: {error}")
    return wrong


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _lacks(path: Path, size: int) -> bool:
    return not path.is_file() or path.stat().st_size != size


def copy(source: Path, target: Path) -> None:
    """A lake again, by links to files that are written once: nobody writes into one, but gives its name to another.

    What lies in the lake itself is copied, the log above all, and so are the locks. What has several names has as many
    in the copy.
    """
    for home, _, files in os.walk(source):
        there = target / Path(home).relative_to(source)
        there.mkdir(parents=True, exist_ok=True)
        is_final = there.relative_to(target).parts[:1] not in ((), ("locks",))
        for name in files:
            (os.link if is_final else shutil.copy2)(Path(home) / name, there / name)


def content(folder: Path) -> dict[str, str]:
    """Every file and what is in it: to see that what is linked to was left alone."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def separate(path: Path, root: Path) -> None:
    """Give all of a file's names below ``root`` a file of their own, so that to write into it harms no other copy."""
    status = path.stat()
    names = [
        name for name in root.rglob("*") if name.is_file() and os.path.samestat(name.stat(), status) and name != path
    ]
    aside = path.with_name(f"{path.name}.aside")
    shutil.copy2(path, aside)
    aside.replace(path)
    for name in names:
        name.unlink()
        os.link(path, name)
