"""Kills: before a deed, in the middle of a write, and as by the mains; then the same again, compared byte for byte."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

from tests.benchmarks.torture import hand_run, lake_state
from tests.benchmarks.torture.children import Outcome, in_child
from tests.benchmarks.torture.faults import Deed, Fault, Harm, Shim, deeds_of
from tests.benchmarks.torture.operations import OPERATIONS, Trial, acts, result, sweep
from tests.benchmarks.torture.tally import Tally

_BY_MAINS: tuple[Harm, ...] = ("kill", "cut")


def crash(trial: Trial, seed: int, long: bool) -> Tally:
    """Every deed of every operation, and of a whole run each kind of deed in each stage; in short a draw of them."""
    tally, draw = Tally("crash"), random.Random(seed)
    for name in OPERATIONS:
        _operation(trial, name, tally, draw, None if long else 4)
    _whole_run(trial, tally, draw, None if long else 8)
    return tally


def faults_of(deeds: Sequence[Deed]) -> list[Fault]:
    """A kill before and a cut at each deed; of a write also one in its middle."""
    faults = [Fault(deed.number, harm) for deed in deeds for harm in _BY_MAINS]
    return faults + [Fault(deed.number, "torn") for deed in deeds if deed.kind == "write"]


def drawn(faults: list[Fault], draw: random.Random, count: int | None) -> list[Fault]:
    """So many of them, in their order; all where no number is named."""
    return faults if count is None or count >= len(faults) else sorted(draw.sample(faults, count))


def undisturbed(trial: Trial, name: str) -> tuple[list[Deed], lake_state.State, set[str]]:
    """The deeds of an operation, what it leaves, and the runs whose names it does not change."""
    trial.renew()
    known, trace = lake_state.ids(trial.lake), trial.home / "trace"
    first = in_child(acts(trial)[name], trial.lake, trace=trace)
    if first.state != "done":
        raise RuntimeError(f"{name}: {first.text}\n{first.trace}")

    def look() -> dict[str, Any]:
        sweep(trial)
        return {"state": lake_state.state(trial.lake, known), "partials": lake_state.partials(trial.lake)}

    after = in_child(look)
    if after.state != "done" or after.value["partials"]:
        raise RuntimeError(f"{name}: {after}")
    return deeds_of(trace), after.value["state"], known


def _operation(trial: Trial, name: str, tally: Tally, draw: random.Random, count: int | None) -> None:
    deeds, expected, known = undisturbed(trial, name)
    for fault in drawn(faults_of(deeds), draw, count):
        trial.renew()
        killed = in_child(acts(trial)[name], trial.lake, fault)
        after = in_child(partial(result, trial, name, known))
        where = f"{fault.harm} at {place_of(trial, deeds, fault)}"
        tally.add(name, where, [*_was_killed(killed), *judge(after, expected)])


def _was_killed(outcome: Outcome) -> list[str]:
    return [] if outcome.state == "killed" else [f"was not killed, but {outcome.state}: {outcome.text}"]


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


# ---- whole runs --------------------------------------------------------------------------------------------------


def run_whole(trial: Trial, mark: hand_run.Mark = lambda _: None) -> Any:
    """From the source to the page."""
    return hand_run.clean(hand_run.config_of(trial.lake, trial.source), trial.home / "results", mark)


def run_whole_again(trial: Trial) -> dict[str, Any]:
    """What a reader sees after a kill; then, once it has run again, what is there."""
    before = lake_state.unreadable(trial.lake)
    run_whole(trial)
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


def whole(trial: Trial) -> tuple[list[Deed], lake_state.State]:
    """The deeds of a whole run, and what it leaves."""
    trial.empty()
    trace = trial.home / "trace"
    done = in_child(partial(_marked, trial), trial.lake, trace=trace)
    if done.state != "done":
        raise RuntimeError(f"a whole run: {done.text}\n{done.trace}")
    return deeds_of(trace), in_child(lambda: lake_state.state(trial.lake, set())).value


def _marked(trial: Trial) -> Any:
    return run_whole(trial, Shim().mark)


def _whole_run(trial: Trial, tally: Tally, draw: random.Random, count: int | None) -> None:
    deeds, expected = whole(trial)
    for fault in drawn(faults_of(chosen(deeds)), draw, count):
        trial.empty()
        killed = in_child(partial(run_whole, trial), trial.lake, fault)
        after = in_child(partial(run_whole_again, trial))
        where = f"{fault.harm} at {place_of(trial, deeds, fault)}"
        tally.add("a whole run", where, [*_was_killed(killed), *judge(after, expected)])
