"""The decision in SQL is the plain loop: by rank, up to the budget, never too much of one class, with its reason."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.budgets.share import Share
from tasks.decision import Flagging, decide
from tasks.errors import BadConfig
from tasks.schemas import FLAGS, GRADIENTS, scores


def tables(suspicions, labels, predicted=None, ids=None, order=None, extra=0):
    """scores, samples and gradients of n samples; ``suspicions`` by detector."""
    n = len(labels)
    ids = ids or [f"{i:04d}" for i in range(n)]
    predicted = predicted or labels
    table = pa.table(
        [pa.array(ids), *(pa.array(np.asarray(s, float)) for s in suspicions.values())], schema=scores(list(suspicions))
    )
    samples = pa.table({"sample_id": ids + [f"t{i}" for i in range(extra)], "label": labels + labels[:1] * extra})
    p = np.linspace(0.1, 0.9, n).astype(np.float32)
    columns = {"sample_id": ids, "fold": np.zeros(n, np.int16), "predicted": predicted}
    gradients = pa.table(
        [pa.array(columns[name]) if name in columns else pa.array(p) for name in GRADIENTS.names], schema=GRADIENTS
    )
    if order is not None:
        table = table.take(pa.array(order))
        gradients = gradients.take(pa.array(order[::-1]))
        samples = samples.take(pa.array(np.roll(np.arange(samples.num_rows), 3)))
    return table, samples, gradients


def decided(suspicions, labels, share=0.2, options=None, **more):
    return decide(*tables(suspicions, labels, **more), Share(share=share), options or Flagging())


def by_loop(suspicion, labels, ids, count, cap):
    """sample_id → (rank, flag)"""
    order = sorted(range(len(ids)), key=lambda i: (-suspicion[i], ids[i]))
    room = {label: math.floor(cap * labels.count(label)) for label in labels}
    found = {}
    for rank, i in enumerate(order, 1):
        flag = count > 0 and room[labels[i]] > 0
        if flag:
            count -= 1
            room[labels[i]] -= 1
        found[ids[i]] = (rank, flag)
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from("abc")), min_size=2, max_size=40),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]),
    st.sampled_from([0.1, 1 / 3, 0.5, 0.75]),
)
def test_the_sql_is_the_plain_loop(rows, share, cap):
    suspicion, labels = [float(s) for s, _ in rows], [y for _, y in rows]
    ids = [f"{i * 7919 % 1009:04d}" for i in range(len(rows))]
    table = decided({"l2": suspicion}, labels, share, Flagging(class_cap=cap), ids=ids)
    found = {row["sample_id"]: (row["rank"], row["flag"]) for row in table.to_pylist()}
    assert found == by_loop(suspicion, labels, ids, round(share * len(rows)), cap)
    for label in set(labels):
        flagged = sum(flag for name, (_, flag) in found.items() if labels[ids.index(name)] == label)
        assert flagged <= cap * labels.count(label)
        assert flagged < labels.count(label)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.25, 0.333])
@pytest.mark.parametrize("n", [10, 50, 99])
def test_as_many_are_flagged_as_the_budget_says_where_no_cap_binds(share, n):
    labels = [str(i % 3) for i in range(n)]
    table = decided({"l2": np.arange(n)}, labels, share, Flagging(class_cap=0.75))
    assert sum(table["flag"].to_pylist()) == round(share * n)


def test_flags_have_the_schema_and_stand_by_rank():
    table = decided({"l2": [3.0, 9.0, 1.0, 5.0]}, ["a", "b", "a", "b"])
    assert table.schema.equals(FLAGS)
    assert table["rank"].to_pylist() == [1, 2, 3, 4]
    assert table["sample_id"].to_pylist() == ["0001", "0003", "0000", "0002"]
    assert table["suspicion"].to_pylist() == [9.0, 5.0, 3.0, 1.0]


def test_ties_are_broken_by_sample_id():
    table = decided({"l2": [1.0] * 6}, list("ababab"), 0.34, ids=["f", "e", "d", "c", "b", "a"])
    assert table["sample_id"].to_pylist() == list("abcdef")
    assert table["flag"].to_pylist() == [True, True, False, False, False, False]


def test_the_order_of_rows_changes_nothing_nor_do_samples_that_were_not_scored():
    generator = np.random.default_rng(0)
    suspicions = {"l2": generator.integers(0, 5, 60), "l1": generator.random(60)}
    labels = [str(i % 4) for i in range(60)]
    predicted = [str(i % 5) for i in range(60)]
    plain = decided(suspicions, labels, predicted=predicted)
    other = decided(suspicions, labels, predicted=predicted, order=generator.permutation(60), extra=9)
    assert plain.equals(other)


@pytest.mark.parametrize("cap", [0.5, 0.99, 1.0])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_no_class_is_emptied_however_suspect(cap, n):
    labels = ["rare"] * n + ["common"] * 20
    suspicion = [100.0] * n + [1.0] * 20
    table = decided({"l2": suspicion}, labels, 0.5, Flagging(class_cap=cap))
    rare = [row["flag"] for row in table.to_pylist() if int(row["sample_id"]) < n]
    assert sum(rare) < n


def test_a_class_at_its_cap_makes_room_for_the_next_most_suspect():
    labels = ["a"] * 4 + ["b"] * 6
    table = decided({"l2": [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]}, labels, 0.4, Flagging(class_cap=0.5))
    rows = {row["sample_id"]: row for row in table.to_pylist()}
    assert [name for name, row in rows.items() if row["flag"]] == ["0000", "0001", "0004", "0005"]
    assert rows["0002"]["reason"] == "kept: 0.5 of class a is the most that may be flagged"
    assert rows["0006"]["reason"] == "kept: below the budget"


def test_reasons_name_both_labels_the_probabilities_and_the_rank():
    labels, predicted = ["cat"] * 5 + ["dog"] * 5, ["dog"] * 5 + ["dog"] * 5
    table = decided({"l2": np.arange(10)[::-1], "l1": np.arange(10)[::-1]}, labels, 0.3, predicted=predicted)
    first = table.to_pylist()[0]
    p = float(np.float32(0.1))
    assert first["reason"] == (
        f"given cat (p = {p:.3f}), held-out model says dog (p = {p:.3f}); rank 1 by l2, also marked by l1"
    )
    assert all(table["reason"].to_pylist())


def test_a_flagged_sample_the_model_agrees_with_says_so_and_suggests_nothing():
    table = decided({"l2": [2.0, 1.0, 0.0, 0.0]}, ["a", "a", "b", "b"], 0.25)
    first = table.to_pylist()[0]
    assert first["flag"]
    assert first["reason"] == (
        "given a (p = 0.100) is what the held-out model says, but its gradient is far out; rank 1 by l2"
    )
    assert first["suggested_label"] is None


def test_a_label_is_suggested_exactly_where_the_model_disagrees():
    labels, predicted = list("abab"), list("abba")
    table = decided({"l2": [4.0, 3.0, 2.0, 1.0]}, labels, predicted=predicted)
    assert table["suggested_label"].to_pylist() == [None, None, "b", "a"]


@pytest.mark.parametrize(
    "odd", ["{}", "{0}", "{:d}", "}{", "it's", 'say "so"', "100 %s", "%", "$detector", "", "é ☃", "a\nb"]
)
def test_labels_of_any_characters_survive_in_the_reason(odd):
    labels, predicted = [odd] * 4 + ["plain"] * 4, ["plain"] * 4 + [odd] * 4
    table = decided({"l2": np.arange(8)[::-1]}, labels, 0.5, predicted=predicted)
    rows = {row["sample_id"]: row for row in table.to_pylist()}
    assert rows["0000"]["reason"].startswith(f"given {odd} (p = 0.100), held-out model says plain (p = ")
    assert rows["0002"]["reason"] == f"kept: 0.5 of class {odd} is the most that may be flagged"
    assert f"held-out model says {odd} (p = " in rows["0004"]["reason"]
    assert rows["0004"]["suggested_label"] == odd


def test_every_detector_marks_its_own_top_and_the_named_one_decides():
    suspicions = {"l2": [4.0, 3.0, 2.0, 1.0, 0.0], "pyod_ecod": [0.0, 9.0, 8.0, 1.0, 2.0]}
    labels = list("ababa")
    table = decided(suspicions, labels, 0.4, Flagging(detector="pyod_ecod"))
    rows = {row["sample_id"]: row for row in table.to_pylist()}
    assert {row["detector"] for row in rows.values()} == {"pyod_ecod"}
    assert {name: row["marked_by"] for name, row in rows.items()} == {
        "0000": ["l2"],
        "0001": ["l2", "pyod_ecod"],
        "0002": ["pyod_ecod"],
        "0003": [],
        "0004": [],
    }
    assert [name for name, row in rows.items() if row["flag"]] == ["0001", "0002"]
    assert {r["detector"] for r in decided(suspicions, labels, 0.4).to_pylist()} == {"l2"}


def test_a_detector_that_did_not_score_cannot_decide():
    with pytest.raises(BadConfig, match=r"option flagging\.detector: expected one of l2, l1, got iforest"):
        decided({"l2": [1.0, 2.0], "l1": [1.0, 2.0]}, ["a", "b"], options=Flagging(detector="iforest"))
