"""Runs, maintenance, vacuum, the catalogue, rollbacks and two writers of tags at once, on one lake.

What must hold afterwards, from the log of moves alone: each that a writer was told of stands there exactly once, in an
order that agrees with the clock (one that ended before another began has the lower number), numbers have no gap, and
nobody who looked meanwhile met with anything that was not whole.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from tasks.core.errors import BadConfig
from tasks.pipeline.artefacts import Run
from tasks.pipeline.dataset_lock import DatasetLock
from tasks.versions.rollback import roll_back
from tests.benchmarks.torture import hand_run, lake_state, operations
from tests.benchmarks.torture.children import finish, in_child, start
from tests.benchmarks.torture.operations import DATASET, Trial
from tests.benchmarks.torture.tally import Tally

TAGS = ("golden", "silver")
# A writer's own moves carry its name in their reason; others' do not.
_BY = "torture"


class Move(NamedTuple):
    """What a writer did, and when, by a clock that all share."""

    tag: str
    reason: str
    version: str | None
    began: float
    ended: float
    has_moved: bool


def concurrency(trial: Trial, seed: int, long: bool, minutes: float) -> Tally:
    """Some rounds of all at once."""
    tally = Tally("concurrency", minutes)
    for number in tally.in_time(range(6 if long else 1)):
        trial.renew()
        seconds = 20.0 if long else 2.0
        actors: dict[str, Callable[[], Any]] = {
            "tags 1": partial(_write_tags, trial, seed + 2 * number, seconds),
            "tags 2": partial(_write_tags, trial, seed + 2 * number + 1, seconds),
            "rollback": partial(_repeat, trial, _roll_back, seconds),
            "vacuum": partial(_repeat, trial, operations.vacuum, seconds),
            "maintain": partial(_repeat, trial, operations.maintain, seconds),
            "index": partial(_repeat, trial, operations.index, seconds),
            "run 1": partial(_run, trial, 200),
            "run 2": partial(_run, trial, 240),
            "reader": partial(_read, trial, seconds),
        }
        children = {name: start(act) for name, act in actors.items()}
        moves: list[Move] = []
        for name, (child, reading) in children.items():
            outcome = finish(child, reading, 300)
            problems = [] if outcome.state == "done" else [outcome.told]
            value = outcome.value or {}
            moves += [Move(*move) for move in value.get("moves", [])]
            tally.add(name.partition(" ")[0], f"round {number}", [*problems, *value.get("problems", [])])
            tally.count(name.partition(" ")[0], value.get("times", {}))
        tally.add("log of tags", f"round {number}", in_child(partial(_linear, trial, moves)).value)
        tally.add("lake afterwards", f"round {number}", in_child(partial(lake_state.unreadable, trial.lake)).value)
    return tally


def _write_tags(trial: Trial, seed: int, seconds: float) -> dict[str, Any]:
    """Move both tags to and fro; a version that has been cleared away is refused in words."""
    draw, history, moves, refused = random.Random(seed), trial.history(), list[Move](), 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        tag, numbers = draw.choice(TAGS), history.numbers()
        version = draw.choice([*(f"v{number:04d}" for number in numbers), None])
        reason, began = f"{_BY} {seed}-{len(moves) + refused}", time.monotonic()
        try:
            has_moved = history.move(tag, version, _BY, reason)
        except BadConfig:
            refused += 1
            continue
        moves.append(Move(tag, reason, version, began, time.monotonic(), has_moved))
    return {"moves": moves, "times": {"moves": len(moves), "refused": refused}}


def _roll_back(trial: Trial) -> None:
    history = trial.history()
    roll_back(history, history.resolve("current"), "someone", "as it is")


def _repeat(trial: Trial, act: Callable[[Trial], None], seconds: float) -> dict[str, Any]:
    """As often as there is time for; what was refused because others cleared it away is counted."""
    until, times, refused = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        try:
            act(trial)
            times += 1
        except BadConfig:
            refused += 1
        time.sleep(0.05)
    return {"times": {"times": times, "refused": refused}}


def _run(trial: Trial, rows: int) -> dict[str, Any]:
    """A whole run of a table of its own length, in its turn."""
    source = hand_run.write_source(trial.home / f"rows-{rows}" / f"{DATASET}.csv", rows)
    config = hand_run.config_of(trial.lake, source)
    with DatasetLock(Run.start(trial.lake, DATASET), DATASET):
        hand_run.clean(config, trial.home / f"results {rows}")
    return {"times": {"times": 1}}


def _read(trial: Trial, seconds: float) -> dict[str, Any]:
    """Whoever looks, looks at something whole."""
    until, problems, looks, history = time.monotonic() + seconds, list[str](), 0, trial.history()
    while time.monotonic() < until:
        looks += 1
        try:
            current = history.resolve("current")
            history.tags()
            history.check_whole(current)
            history.manifests()
        except Exception as error:  # noqa: BLE001  whatever a reader meets with
            problems.append(f"{type(error).__name__}: {error}")
        time.sleep(0.01)
    return {"problems": problems, "times": {"looks": looks}}


def _linear(trial: Trial, moves: list[Move]) -> list[str]:
    """What contradicts an order of all moves, one after another, that the log is."""
    history = trial.history()
    numbers = history.log.numbers()
    wrong = [] if numbers == list(range(1, len(numbers) + 1)) else [f"links with gaps: {numbers}"]
    for tag in TAGS:
        log = history.moves(tag)
        places = {move.reason: place for place, move in enumerate(log)}
        mine = [move for move in moves if move.tag == tag]
        told = {move.reason for move in mine if move.has_moved}
        found = {move.reason for move in log if move.by == _BY}
        wrong += [f"{tag}: {reason} was done and stands nowhere" for reason in sorted(told - found)]
        times = Counter(move.reason for move in log if move.by == _BY)
        wrong += [f"{tag}: {reason} stands {count} times" for reason, count in times.items() if count > 1]
        done = sorted((move for move in mine if move.reason in places), key=lambda move: places[move.reason])
        latest = 0.0
        for move in done:
            wrong += [f"{tag}: {move.reason} began after one behind it had ended"] if move.ended < latest else []
            latest = max(latest, move.began)
    return wrong
