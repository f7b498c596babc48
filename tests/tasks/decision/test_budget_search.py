"""Each rung keeps the better half, on the validation split alone, until one budget is left."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.config import CleanConfig
from tasks.decision.budget_search import BudgetSearch, Search, better_half
from tasks.decision.budgets import BudgetChoice
from tasks.decision.halve import halve
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import PREDICTIONS, SEARCH
from tasks.proof.arms import Verification


def search(count):
    budgets = [BudgetChoice(kind="share", options={"share": (i + 1) / 100}) for i in range(count)]
    return BudgetSearch(budgets=budgets)


@given(st.integers(0, 31))
def test_rungs_halve_what_is_left_to_one_and_double_the_seeds(others):
    rungs = search(others).rungs
    assert len(rungs) == math.ceil(math.log2(others + 1))
    left = others + 1
    for i, rung in enumerate(rungs):
        assert rung.number == i + 1
        assert len(rung.seeds) == 2 * 2**i
        # What the rung before has trained is trained no more.
        assert set(rungs[i - 1].seeds) <= set(rung.seeds) or i == 0
        left = len(better_half(dict.fromkeys(range(left), 0.5), dict.fromkeys(range(left), 1)))
    assert left == 1


def test_no_network_that_chose_a_budget_verifies_it():
    _, seeds = Verification(seeds=100).pairs(flagged=1)
    assert not {seed for rung in search(3).rungs for seed in rung.seeds} & set(seeds)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=9), st.randoms())
def test_the_better_half_is_that_of_a_sort(pairs, random):
    accuracy, flagged = {i: a / 7 for i, (a, _) in enumerate(pairs)}, {i: f for i, (_, f) in enumerate(pairs)}
    ranked = sorted(range(len(pairs)), key=lambda i: (-pairs[i][0], pairs[i][1], i))
    shuffled = dict(random.sample(list(accuracy.items()), len(accuracy)))
    assert better_half(shuffled, flagged) == sorted(ranked[: math.ceil(len(pairs) / 2)])


def test_of_equals_the_one_that_flags_less_goes_on():
    assert better_half({0: 0.1 + 0.2, 1: 0.3, 2: 0.3}, {0: 30, 1: 20, 2: 40}) == [0, 1]
    assert better_half({0: 0.1 + 0.2, 1: 0.3}, {0: 30, 1: 20}) == [1]


# ---- the verb ----------------------------------------------------------------------------------------------------

NAMES = ["canary", "share_0.1", "share_0.2"]
TESTED = 20


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path, "search")


def stored(run, stage, table, name, **facts):
    with run.draft(stage) as draft:
        pq.write_table(table, draft.path(name, table.num_rows))
        return draft.commit(**facts)


def flags_of(run, flagged):
    return stored(run, "flags", pa.table({"x": [flagged]}), "flags.parquet", flagged=flagged)


def trial(run, seed, correct):
    predicted = ["a"] * correct + ["b"] * (TESTED - correct)
    columns = [[str(i) for i in range(TESTED)], ["a"] * TESTED, predicted, np.full(TESTED, 0.5, np.float32)]
    table = pa.table([pa.array(column) for column in columns], schema=PREDICTIONS)
    return stored(
        run,
        "predictions",
        table,
        f"predictions/cleaned-{seed}.parquet",
        seed=seed,
        split="validation",
        credit=correct / TESTED,
    )


def test_two_rungs_leave_one_and_a_table_of_all_that_was_tried(run):
    flags = [flags_of(run, n) for n in (30, 10, 20)]
    first, second = (rung._replace(seeds=rung.seeds[: rung.number]) for rung in search(2).rungs)
    begun = Search(candidates=flags)
    assert begun.pairs(first) == (flags, [10_000] * 3)
    half = begun.after(halve.fn(run, NAMES, begun, [trial(run, 0, n) for n in (12, 15, 14)], 1))
    assert half.rounds[0].facts == {"survivors": [1, 2], "names": NAMES[1:], "rung": 1}
    assert half.pairs(second) == ([flags[1], flags[1], flags[2], flags[2]], [10_000, 10_001] * 2)
    trials = [trial(run, seed, n) for seed, n in ((0, 15), (1, 10), (0, 14), (1, 13))]
    ended = half.after(halve.fn(run, NAMES, half, trials, 2))
    assert (ended.survivors, ended.best) == ([2], flags[2])
    table = pq.read_table(run.path(ended.rounds[-1]))
    assert table.schema.equals(SEARCH)
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        (1, "canary", 30, 0, 0.6, False),
        (1, "share_0.1", 10, 0, 0.75, True),
        (1, "share_0.2", 20, 0, 0.7, True),
        (2, "share_0.1", 10, 0, 0.75, False),
        (2, "share_0.1", 10, 1, 0.5, False),
        (2, "share_0.2", 20, 0, 0.7, True),
        (2, "share_0.2", 20, 1, 0.65, True),
    ]


def test_without_a_search_the_only_candidate_is_chosen(run):
    flags = flags_of(run, 3)
    assert search(0).rungs == []
    assert Search(candidates=[flags]).best == flags


# ---- the configuration -------------------------------------------------------------------------------------------


def test_a_search_needs_a_validation_split_and_its_absence_does_not():
    assert CleanConfig().splits == ("train", "test")
    assert search(1).splits == ("validation",)
    tried = {"search": {"budgets": [{"kind": "share", "share": 0.2}]}}
    assert CleanConfig.model_validate(tried).splits == ("train", "test", "validation")


def test_budgets_of_one_kind_are_told_apart_by_their_options_and_twice_the_same_is_refused():
    options = {"budget": {"kind": "share", "share": 0.1}}
    config = CleanConfig.model_validate(options | {"search": {"budgets": [{"kind": "share", "share": 0.2}]}})
    assert config.budget_names == ["share_0.1", "share_0.2"]
    assert [budget.share for budget in config.budget_components] == [0.1, 0.2]
    with pytest.raises(ValidationError, match=r"budgets: share_0\.1 stands there twice"):
        CleanConfig.model_validate(options | {"search": {"budgets": [{"kind": "share", "share": 0.1}]}})


def test_a_tried_budget_that_needs_canaries_is_refused_without_them():
    with pytest.raises(ValidationError, match="learns from canaries"):
        CleanConfig.model_validate(
            {"budget": "share", "detectors": ["l2"], "folds": 1, "search": {"budgets": ["canary"]}}
        )
