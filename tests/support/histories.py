"""Histories of versions without files, and what somebody does to them who may write to the store."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from tasks.pipeline.artefacts import File
from tasks.versions.chain import Chain
from tasks.versions.history import History


def facts(content: str, kind: str = "cleaned", parent: str | None = None, **others: Any) -> dict[str, Any]:
    """A manifest of no files."""
    rows = {"rows": 1, "splits": {"train": 1}, "removed": 0, "relabelled": 0, "members": content, "content": content}
    unknown = dict.fromkeys(("run_id", "model", "config", "source", "flags", "metrics"))
    decisions = File(name="decisions.parquet", rows=0, size=0, sha256="0")
    nothing = {"parts": (), "decisions": decisions, "plain": None, "classes": (), "payload": {}}
    return {"kind": kind, "parent": parent, "by": "me", "code": "c", "samples": "s"} | rows | unknown | nothing | others


def alter(path: Path, **changes: Any) -> None:
    """Other values in a JSON document, and nothing mended."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def forge(path: Path, **changes: Any) -> None:
    """Other values, under a digest that fits them; the signature, if there is one, is of what was there."""
    document = json.loads(path.read_text()) | changes
    seal = {name: value for name, value in document["seal"].items() if name not in ("digest", "signature")}
    digest = hashlib.sha256(json.dumps(document | {"seal": seal}, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(document | {"seal": document["seal"] | {"digest": digest}}))


def without_log(history: History) -> History:
    """A store as it was before there was a log: manifests without seals, and a file for each move."""
    home = history.objects.folder / history.dataset
    moves = {tag: history.moves(tag) for tag in history.log.tags()}
    for path in home.glob("v*.json"):
        path.write_text(json.dumps({n: v for n, v in json.loads(path.read_text()).items() if n != "seal"}))
    for tag in moves:
        (home / "tags" / tag).mkdir(parents=True)
        for number, move in enumerate(moves[tag], 1):
            (home / f"tags/{tag}/{number:06d}.json").write_text(move.model_dump_json())
    shutil.rmtree(home / "log")
    return history


def wrong(history: History) -> dict[str, str]:
    """What a look at the whole chain finds, by document."""
    chain = Chain(history)
    checks = [check._replace(what=name) for name in chain.versions if (check := chain.of_version(name))]
    return {check.what: check.detail for check in [*chain.of_all(), *checks] if check.state == "wrong"}
