"""What a manifest says of its origin, again from the versions and the run that it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tasks.core.errors import BadArtefact
from tasks.pipeline.recorded_run import RUN_FILE, RecordedRun
from tasks.pipeline.stored_names import inside
from tasks.versions.check import Check
from tasks.versions.history import History
from tasks.versions.manifest import Manifest


def claims(history: History, manifest: Manifest, lake: Path) -> Iterator[Check]:
    """Recompute what can be; say of the rest that it is attested."""
    yield _parent(history, manifest)
    try:
        run = _run_of(manifest, lake)
    except BadArtefact as error:
        yield Check("verdict", "unknown", error.got)
        return
    if manifest.verdict is not None or manifest.kind == "cleaned":
        yield _verdict(manifest, run)
    yield _provenance(manifest, run, lake)


def _parent(history: History, manifest: Manifest) -> Check:
    """Whether a version can come from those it names."""
    problems, gone = [], []
    for name in (name for name in (manifest.parent, manifest.rollback_of) if name is not None):
        number = int(name[1:]) if name[1:].isdigit() else 0
        if not 0 < number < manifest.number:
            problems.append(f"{name} is no version before it")
        elif number not in history.numbers():
            gone.append(name)
        else:
            problems += _origin(history, manifest, number)
    if manifest.kind == "cleaned" and manifest.parent is None:
        problems.append("a cleaned version has a parent, and this one names none")
    if problems:
        return Check("parent", "wrong", "; ".join(problems))
    if gone:
        return Check("parent", "attested", f"{', '.join(gone)}, cleared away since")
    return Check("parent", "ok", manifest.parent or "none")


def _origin(history: History, manifest: Manifest, number: int) -> list[str]:
    try:
        origin = history.altered(number)
    except BadArtefact:
        return [f"v{number:04d} is damaged"]
    return _not_from(manifest, origin, origin.version == manifest.rollback_of)


def _not_from(manifest: Manifest, origin: Manifest, is_rollback: bool) -> list[str]:
    """Why a version does not come from another one."""
    if is_rollback:
        return [] if origin.content == manifest.content else [f"its rows are not those of {origin.version}"]
    if manifest.kind == "rollback":
        return []
    if origin.kind != "ingested":
        return [f"{origin.version} is no dataset as it came"]
    same = manifest.kind == "ingested" or origin.samples == manifest.samples
    return [] if same else [f"its samples are not those of {origin.version}"]


def _run_of(manifest: Manifest, lake: Path) -> RecordedRun | None:
    if manifest.run_id is None:
        return None
    path = inside(lake / "runs", manifest.run_id, single=True) / RUN_FILE
    return RecordedRun.of_file(path) if path.is_file() else None


def _verdict(manifest: Manifest, run: RecordedRun | None) -> Check:
    """Whether the verdict, and with it whether to promote, is the run's."""
    if run is None:
        return Check("verdict", "attested", f"{_word(manifest.verdict)}; {manifest.run_id} is not in this lake")
    metrics = next((stage for stage in run.of("metrics") if stage.digest == manifest.metrics), None)
    if metrics is None:
        return Check("verdict", "wrong", f"{run.run_id} has no metrics {manifest.metrics}")
    if not metrics.is_consistent:
        return Check("verdict", "wrong", f"the metrics that {run.run_id} states are not those of their digest")
    expected = metrics.facts["verdict"] | {"gains": metrics.facts["gains"]}
    if json.dumps(expected, sort_keys=True) != json.dumps(manifest.verdict, sort_keys=True):
        return Check(
            "verdict", "wrong", f"{_word(manifest.verdict)}; the run says {_word(expected)}, or gains otherwise"
        )
    return Check("verdict", "ok", f"{_word(expected)}, as the run says")


def _word(verdict: dict[str, object] | None) -> str:
    said = verdict or {}
    return f"{said.get('word', 'none')}, {'promote' if said.get('promote') else 'not to promote'}"


def _provenance(manifest: Manifest, run: RecordedRun | None, lake: Path) -> Check:
    """What nothing here can prove; that the run was configured so can be."""
    path = None if run is None else inside(lake / "runs", run.run_id, single=True) / "config.yaml"
    if path is not None and path.is_file() and path.read_text(encoding="utf-8") != manifest.config:
        return Check("provenance", "wrong", "the configuration is not the run's")
    return Check(
        "provenance", "attested", f"published {manifest.published[:19]} by {manifest.by}, code {manifest.code}"
    )
