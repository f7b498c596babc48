"""Errors of the disk: full, read-only, forbidden, defective, and writes of which half is done."""

from __future__ import annotations

import random
from functools import partial

from tests.benchmarks.torture.children import Outcome, in_child
from tests.benchmarks.torture.crash import WHOLE, Subject, chosen, judge, look, place_of, subjects
from tests.benchmarks.torture.faults import Deed, Fault
from tests.benchmarks.torture.operations import Trial
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


def errnos(trial: Trial, seed: int, long: bool, minutes: float) -> Tally:
    """Each error at every deed of every operation, and of a whole run at each kind of deed; in short each once."""
    tally, draw = Tally("errors of the disk", minutes), random.Random(seed)
    cases: list[tuple[Subject, Fault]] = []
    for subject in subjects(trial):
        faults = _faults_of(chosen(subject.deeds) if subject.name == WHOLE else subject.deeds)
        cases += [(subject, fault) for fault in faults]
    for subject, fault in tally.in_time(draw.sample(cases, len(cases)) if long else _one_of_each(cases, draw)):
        subject.begin()
        outcome = in_child(subject.act, trial.lake, fault)
        wrong = _said(outcome, fault)
        if outcome.state == "done":  # whoever says so has done it
            wrong += judge(in_child(partial(look, trial, subject.known)), subject.expected)
        wrong += judge(in_child(subject.again), subject.expected)
        where = f"{subject.name}, {fault.error or 'half a write'} at {place_of(trial, subject.deeds, fault)}"
        tally.add(fault.error or "short", where, wrong, _kind(outcome))
    return tally


def _one_of_each(cases: list[tuple[Subject, Fault]], draw: random.Random) -> list[tuple[Subject, Fault]]:
    """Each error once, wherever in whatever operation; a whole run takes as long as all of these."""
    return [
        draw.choice([case for case in cases if case[1]._replace(at=0) == fault and case[0].name != WHOLE])
        for fault in _FAULTS
    ]


def _faults_of(deeds: list[Deed]) -> list[Fault]:
    return [fault._replace(at=deed.number) for deed in deeds for fault in _FAULTS if fault.strikes(deed.kind)]


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
