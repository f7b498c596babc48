"""Every kind of file in a lake, damaged in every way: mended, found, harmless, and never used in silence.

A lake is asked everything before and after the damage: its versions and their rows, its tags, each view of its
catalogue, ``versions verify``, then a whole run on the same source, and all of it again. Of the damage it is said:

    mended     the run made the file as it was, or put what is wrong aside: afterwards every answer is the same
    refused    whoever reads the file says in words that it is damaged
    found      verify says what is wrong
    harmless   every answer is the same; so is what is written for people and read by nobody: pages of runs, the log
    used       an answer is another, and nobody said anything: this is the failure
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from tasks.catalogue.database import build, connect
from tasks.core.errors import GradsieveError
from tasks.training.base_run import WantedBase
from tasks.versions.chain import Chain
from tasks.versions.check import Check
from tasks.versions.contents import members_digest, rows_of
from tasks.versions.history import CURRENT, History
from tasks.versions.integrity import version_checks
from tasks.versions.run_checks import run_checks
from tasks.versions.tag_names import CANDIDATE
from tests.benchmarks.torture import hand_run, lake_state
from tests.benchmarks.torture.children import in_child
from tests.benchmarks.torture.damage import DAMAGES, Damage, damage, kinds_of
from tests.benchmarks.torture.operations import DATASET, ROWS, Trial
from tests.benchmarks.torture.tally import Tally

Answers = dict[str, Any]
_ERROR = "error: "


def corruption(trial: Trial, seed: int, long: bool, minutes: float) -> Tally:
    """The whole matrix; in short three of its cells."""
    tally, draw = Tally("corruption", minutes), random.Random(seed)
    hand_run.write_source(trial.source, ROWS[1])
    _index(trial)
    expected = in_child(partial(_before_and_after, trial))
    trial.renew(trial.indexed)
    once_more = in_child(partial(_before_and_after, trial)) if long else expected
    if expected.state != "done" or expected.value != once_more.value:
        raise RuntimeError(f"two lakes without damage answer differently: {expected}, {once_more}")
    kinds = {kind: len(files) for kind, files in kinds_of(trial.indexed).items()}
    cells: list[tuple[str, Damage]] = [(kind, how) for kind in kinds for how in DAMAGES]
    for kind, how in tally.in_time(draw.sample(cells, len(cells)) if long else _one_of_each_room(kinds, draw)):
        trial.renew(trial.indexed)
        files = kinds_of(trial.lake)[kind]
        place = len(files) - 1 if how == "older" else draw.randrange(len(files))
        if not damage(how, files, place, trial.lake):
            continue
        name = str(files[place].relative_to(trial.lake))
        after = in_child(partial(_before_and_after, trial))
        outcome, wrong = judged(expected.value, after.value) if after.state == "done" else (after.state, [after.text])
        tally.add(f"{_room(kind)}: {how}", f"{how} of {name}", wrong, outcome)
    return tally


def _one_of_each_room(kinds: Iterable[str], draw: random.Random) -> list[tuple[str, Damage]]:
    """Three damages that a file can always have, one where stages are kept, one of a run and one of a version."""
    hows = draw.sample(("flip", "rot", "truncate", "delete"), 3)
    rooms = [[kind for kind in kinds if kind.startswith(room)] for room in ("cache/", "runs/", "versions/")]
    return [(draw.choice(room), how) for room, how in zip(rooms, hows, strict=True)]


def _index(trial: Trial) -> None:
    """Make the lake that is damaged: without its catalogue each question would make one in memory."""
    trial.renew()
    indexed = in_child(partial(build, trial.lake))
    if not indexed.value:
        raise RuntimeError(f"the catalogue was not made: {indexed}")
    if not trial.indexed.exists():
        lake_state.copy(trial.lake, trial.indexed)


def _room(kind: str) -> str:
    """Kinds, for a table that one can read: where it lies and what it is."""
    path = Path(kind)
    return f"{path.parts[0]}/…{path.suffix}" if len(path.parts) > 1 else kind


def judged(expected: list[Answers], actual: list[Answers]) -> tuple[str, list[str]]:
    """What is to be said of a damage, and what is wrong with how it was met."""
    told = [
        f"{name}: {answer}"
        for before, answers in zip(expected, actual, strict=True)
        for name, answer in answers.items()
        if answer != before.get(name) and _tells(name, answer)
    ]
    changed = [name for a, b in zip(expected, actual, strict=True) for name in a if a[name] != b.get(name)]
    # Whoever stumbles says so in words of ours, or of the library that reads the file.
    crude = [line for line in told if line.partition(_ERROR)[2].startswith(("KeyError", "TypeError", "IndexError"))]
    if told or "put aside" in changed:
        is_refused = any(_ERROR in line for line in told)
        outcome = "mended" if _is_mended(expected[1], actual[1]) else "refused" if is_refused else "found"
        return outcome, crude
    return ("harmless", []) if not changed else ("used", [f"another answer, and nobody said so: {', '.join(changed)}"])


def _is_mended(expected: Answers, actual: Answers) -> bool:
    """Whether all is as it should be once the run is over, but for what was put aside, and that it ran again."""
    return {**expected, "put aside": 0} == {**actual, "put aside": 0}


def _tells(name: str, answer: Any) -> bool:
    """Whether an answer that is another one says so: verify does, whatever it says in place of ok."""
    return isinstance(answer, str) and (answer.startswith(_ERROR) or name.startswith("verify"))


def _before_and_after(trial: Trial) -> list[Answers]:
    """Everything that a lake answers; then a run, and everything again. What differs by the clock is masked."""
    known = lake_state.ids(trial.lake)
    return json.loads(lake_state.mask(json.dumps(_both(trial, known)), known))


def _both(trial: Trial, known: set[str]) -> list[Answers]:
    before = answers(trial, known)
    run = partial(hand_run.clean, hand_run.config_of(trial.lake, trial.source), trial.home / "results")
    before["run"] = _asked(lambda: run()["version"])
    return [before, answers(trial, known)]


def answers(trial: Trial, known: set[str]) -> Answers:
    """Each question's answer, or what was said in place of one."""
    history = trial.history()
    asked: dict[str, Callable[[], Any]] = {
        "versions": lambda: [_fields(manifest) for manifest in history.manifests()],
        "tags": lambda: [history.tags(), [len(history.moves(tag)) for tag in (CURRENT, CANDIDATE)]],
        "verify log": lambda: _told(Chain(history).of_all()),
        "verify runs": lambda: _told(run_checks(trial.lake)),
        "put aside": lambda: len(list((trial.lake / "cache").glob("*.damaged-*"))),
        "base": lambda: _base(trial),
    }
    for number in _asked(history.numbers) if isinstance(_asked(history.numbers), list) else []:
        asked[f"rows v{number}"] = partial(_rows, history, number)
        asked[f"verify v{number}"] = partial(_verified, history, number, trial.lake)
    return {name: _asked(question) for name, question in asked.items()} | _asked_of_catalogue(trial.lake, known)


def _asked(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except GradsieveError as error:
        return f"{_ERROR}in words: {error}"
    except Exception as error:  # noqa: BLE001  it is told, whatever it is
        return f"{_ERROR}{type(error).__name__}: {str(error)[:200]}"


def _base(trial: Trial) -> str | None:
    """What an incremental run would begin with."""
    reader = hand_run.config_of(trial.lake, trial.source).reader.component
    record = WantedBase("auto", DATASET, reader).record(trial.run())
    return record and record.run_id


def _fields(manifest: Any) -> Any:
    return manifest.model_dump(mode="json")


def _rows(history: History, number: int) -> str:
    with rows_of(history, history.manifest(number).rows_of) as rows:
        return members_digest(rows.members())


def _verified(history: History, number: int, lake: Path) -> str:
    return _told(version_checks(history, number, lake, Chain(history)))


def _told(results: Iterable[Check]) -> str:
    return "; ".join(f"{check.what} {check.state}" for check in results)


def _asked_of_catalogue(lake: Path, known: set[str]) -> Answers:
    """Every view, whole and in an order of its own; those of the newest run alone are the same files once more."""
    try:
        db = connect(lake)
    except Exception as error:  # noqa: BLE001
        return {"catalogue": f"{_ERROR}{type(error).__name__}: {error}"}
    with db:
        views = db.execute(
            "SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal AND schema_name <> 'latest'"
            " ORDER BY ALL"
        ).fetchall()
        return {f"view {name}": _asked(partial(_view, db, f'"{schema}"."{name}"', known)) for schema, name in views}


def _view(db: duckdb.DuckDBPyConnection, name: str, known: set[str]) -> str:
    rows = "\n".join(map(repr, db.execute(f"SELECT * FROM {name}").fetchall()))
    text = "\n".join(sorted(lake_state.mask(rows, known).split("\n")))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
