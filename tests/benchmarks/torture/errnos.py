"""Errors of the disk: full, read-only, forbidden, defective, and writes of which half is done."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.benchmarks.torture import lake_state
from tests.benchmarks.torture.children import Outcome, in_child
from tests.benchmarks.torture.crash import (
    chosen,
    drawn,
    judge,
    place_of,
    run_whole,
    run_whole_again,
    undisturbed,
    whole,
)
from tests.benchmarks.torture.faults import Deed, Fault
from tests.benchmarks.torture.operations import OPERATIONS, Trial, acts, result, sweep
from tests.benchmarks.torture.tally import Tally

# A full or read-only disk stays so; a forbidden name and a defect strike once.
_FAULTS: tuple[Fault, ...] = (
    Fault(harm="lasting", error="ENOSPC"),
    Fault(harm="lasting", error="EROFS"),
    Fault(harm="lasting", error="EDQUOT"),
    Fault(harm="fail", error="EACCES"),
    Fault(harm="fail", error="EIO"),
    Fault(harm="short"),
)
# What of others' errors tells what the disk said.
_WORDS = ("No space left", "Read-only file system", "Permission denied", "Input/output error", "Disk quota exceeded")


def errnos(trial: Trial, seed: int, long: bool) -> Tally:
    """Each error at every deed of every operation, and of a whole run at each kind of deed in each stage."""
    tally, draw = Tally("errors of the disk"), random.Random(seed)
    for name in OPERATIONS:
        deeds, expected, known = undisturbed(trial, name)
        act, look = acts(trial)[name], partial(_look, trial, known)
        for fault in drawn(_faults_of(deeds), draw, None if long else 4):
            trial.renew()
            _struck(trial, tally, name, (deeds, expected), fault, (act, look, partial(result, trial, name, known)))
    deeds, expected = whole(trial)
    acts_of_run = partial(run_whole, trial), partial(_look, trial, set()), partial(run_whole_again, trial)
    for fault in drawn(_faults_of(chosen(deeds)), draw, 8 if not long else 240):
        trial.empty()
        _struck(trial, tally, "a whole run", (deeds, expected), fault, acts_of_run)
    return tally


def _faults_of(deeds: list[Deed]) -> list[Fault]:
    return [fault._replace(at=deed.number) for deed in deeds for fault in _FAULTS if fault.strikes(deed.kind)]


def _struck(
    trial: Trial,
    tally: Tally,
    name: str,
    undisturbed: tuple[list[Deed], lake_state.State],
    fault: Fault,
    steps: tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any]],
) -> None:
    """Let a deed fail. Who says it is done has done it; who does not says why, and can do it again."""
    (deeds, expected), (act, look, again) = undisturbed, steps
    outcome = in_child(act, trial.lake, fault)
    wrong = _said(outcome, fault)
    if outcome.state == "done":
        after = in_child(look)
        wrong += judge(after, expected)
    wrong += judge(in_child(again), expected)
    where = f"{fault.error or 'half a write'} at {place_of(trial, deeds, fault)}"
    tally.add(f"{name}: {fault.error or 'short'}", where, wrong, _kind(outcome))


def _look(trial: Trial, known: set[str]) -> dict[str, Any]:
    unreadable = lake_state.unreadable(trial.lake)
    sweep(trial)
    return {
        "unreadable": unreadable,
        "still unreadable": [],
        "partials": lake_state.partials(trial.lake),
        "state": lake_state.state(trial.lake, known),
    }


def _said(outcome: Outcome, fault: Fault) -> list[str]:
    """Half a write is no error, and is completed by whoever writes; of the others the disk's own words are heard."""
    if outcome.state in ("hung", "died", "killed"):
        return [f"{outcome.state}: {outcome.text}"]
    if fault.harm == "short" and outcome.state != "done":
        return [f"half a write was too little: {outcome.text[:200]}"]
    if outcome.state != "done" and not any(word in outcome.text or word in outcome.trace for word in _WORDS):
        return [f"what the disk said is not told: {outcome.text[:200]}"]
    return []


def _kind(outcome: Outcome) -> str:
    return outcome.state if outcome.state in ("done", "hung", "died") else outcome.text.partition(":")[0]
