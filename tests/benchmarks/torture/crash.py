"""Kills: before a deed, in the middle of a write, and as by the mains; then the same again, compared byte for byte."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence, Set
from functools import cache, partial
from typing import Any, NamedTuple

from tests.benchmarks.torture import hand_run, lake_state
from tests.benchmarks.torture.children import Outcome, in_child
from tests.benchmarks.torture.faults import Deed, Fault, Harm, Shim, deeds_of
from tests.benchmarks.torture.operations import OPERATIONS, ROWS, Trial, result, sweep
from tests.benchmarks.torture.tally import Tally

WHOLE = "a whole run"
_BY_MAINS: tuple[Harm, ...] = ("kill", "cut")
_HARMS: tuple[Harm, ...] = (*_BY_MAINS, "torn")


class Subject(NamedTuple):
    """Something that is done to a lake, and how it goes when nothing happens."""

    name: str
    begin: Callable[[], None]
    """Makes the lake that it is done to."""
    act: Callable[[], Any]
    again: Callable[[], Any]
    """Looks at what is left, does it again, and looks once more."""
    known: frozenset[str]
    """Runs whose names do not change by it."""
    deeds: list[Deed]
    expected: lake_state.State


def crash(trial: Trial, seed: int, long: bool, minutes: float) -> Tally:
    """Every deed of every operation, and of a whole run each kind of deed in each stage; in short one of each."""
    tally, draw, cases = Tally("crash", minutes), random.Random(seed), list[tuple[Subject, Fault]]()
    for number, subject in enumerate(subjects(trial)):
        faults = faults_of(chosen(subject.deeds) if subject.name == WHOLE else subject.deeds)
        if not long:
            # Each kind of kill in its turn, and with another seed another one.
            harm = _HARMS[(number + seed) % len(_HARMS)]
            faults = [draw.choice([fault for fault in faults if fault.harm == harm] or faults)]
        cases += [(subject, fault) for fault in faults]
    for subject, fault in tally.in_time(draw.sample(cases, len(cases))):
        subject.begin()
        killed = in_child(subject.act, trial.lake, fault)
        wrong = [] if killed.state == "killed" else [f"was not killed, but {killed.told}"]
        wrong += judge(in_child(subject.again), subject.expected)
        tally.add(subject.name, f"{fault.harm} at {place_of(trial, subject.deeds, fault)}", wrong, fault.harm)
    return tally


@cache
def subjects(trial: Trial) -> list[Subject]:
    """Each operation, and a whole run."""
    hand_run.write_source(trial.source, ROWS[2])
    return [*(_operation(trial, name) for name in OPERATIONS), _whole(trial)]


def faults_of(deeds: Sequence[Deed]) -> list[Fault]:
    """A kill before and a cut at each deed; of a write also one in its middle."""
    faults = [Fault(deed.number, harm) for deed in deeds for harm in _BY_MAINS]
    return faults + [Fault(deed.number, "torn") for deed in deeds if deed.kind == "write"]


def _operation(trial: Trial, name: str) -> Subject:
    trial.renew()
    known, trace = lake_state.ids(trial.lake), trial.home / "trace"
    act = partial(OPERATIONS[name], trial)
    _succeeded(in_child(act, trial.lake, trace=trace))
    after = _succeeded(in_child(partial(look, trial, known)))
    if wrong := judge(after, after.value["state"]):
        raise RuntimeError(f"{name}, undisturbed: {wrong}")
    again = partial(result, trial, name, known)
    return Subject(name, trial.renew, act, again, frozenset(known), deeds_of(trace), after.value["state"])


def _whole(trial: Trial) -> Subject:
    trial.empty()
    trace = trial.home / "trace"
    _succeeded(in_child(lambda: _run_whole(trial, Shim().mark), trial.lake, trace=trace))
    after = _succeeded(in_child(partial(look, trial, set())))
    act, again = partial(_run_whole, trial), partial(_run_whole_again, trial)
    return Subject(WHOLE, trial.empty, act, again, frozenset(), deeds_of(trace), after.value["state"])


def _succeeded(outcome: Outcome) -> Outcome:
    if outcome.state != "done":
        raise RuntimeError(f"{outcome.told}\n{outcome.trace}")
    return outcome


def look(trial: Trial, known: Set[str]) -> dict[str, Any]:
    """What is there, once the next run has begun."""
    unreadable = lake_state.unreadable(trial.lake)
    sweep(trial)
    return {
        "unreadable": unreadable,
        "still unreadable": [],
        "partials": lake_state.partials(trial.lake),
        "state": lake_state.state(trial.lake, known),
    }


def judge(after: Outcome, expected: lake_state.State) -> list[str]:
    """What is wrong with a lake that was repaired by doing the same again."""
    if after.state != "done":
        return [f"again: {after.told}"]
    said = after.value
    wrong = [f"unreadable after the kill: {line}" for line in said["unreadable"]]
    wrong += [f"unreadable in the end: {line}" for line in said["still unreadable"]]
    wrong += [f"left half-written: {name}" for name in said["partials"]]
    return wrong + lake_state.differences(expected, said["state"])


def place_of(trial: Trial, deeds: Sequence[Deed], fault: Fault) -> str:
    """Where it struck, for a person who wants to see it again."""
    deed = deeds[fault.at - 1]
    stage = f" in {deed.stage}" if deed.stage else ""
    return f"{fault.at} of {len(deeds)}{stage} ({deed.kind} {deed.path.removeprefix(f'{trial.lake}/')})"


def _run_whole(trial: Trial, mark: hand_run.Mark = lambda _: None) -> Any:
    return hand_run.clean(hand_run.config_of(trial.lake, trial.source), trial.home / "results", mark)


def _run_whole_again(trial: Trial) -> dict[str, Any]:
    before = lake_state.unreadable(trial.lake)
    _run_whole(trial)
    return {
        "unreadable": before,
        "still unreadable": lake_state.unreadable(trial.lake),
        "partials": lake_state.partials(trial.lake),
        "state": lake_state.state(trial.lake, set()),
    }


def chosen(deeds: Sequence[Deed]) -> list[Deed]:
    """Of each kind in each stage the first, the middle one and the last."""
    groups: dict[tuple[str, str], list[Deed]] = defaultdict(list)
    for deed in deeds:
        groups[deed.stage, deed.kind].append(deed)
    return sorted({group[place] for group in groups.values() for place in (0, len(group) // 2, -1)})
