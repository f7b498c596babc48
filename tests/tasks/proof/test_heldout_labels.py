"""Wrong labels of a held-out split are told from right ones by observers that saw neither, and any split is valid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.pipeline.schemas import EXAMINATION
from tasks.proof.heldout_labels import SUSPECT, draw_alternatives, examine_labels

CLASSES = ["ape", "bee", "cat", "dog"]
K = len(CLASSES)


def world(n, share, seed=0):
    """(ids, truth, labels, probabilities, votes): two observers err where they are unsure; ``share`` are wrong."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, K, n)

    def observer():
        sure = generator.beta(6, 1, n)
        seen = np.where(generator.random(n) < 1 - sure, generator.integers(0, K, n), truth)
        p = np.repeat((1 - sure[:, None]) / (K - 1), K, axis=1)
        p[np.arange(n), seen] = sure
        return p.astype(np.float32)

    wrong = generator.random(n) < share
    labels = np.where(wrong, (truth + generator.integers(1, K, n)) % K, truth)
    return (
        np.array([f"{i * 7919 % 100_003:06d}" for i in range(n)], dtype=object),
        truth,
        labels,
        observer(),
        observer(),
    )


def test_wrong_labels_are_suspect_and_right_ones_are_not():
    ids, truth, labels, p, votes = world(2000, 0.1)
    table = examine_labels(ids, "test", labels, p, votes, CLASSES)
    assert table.schema.equals(EXAMINATION)
    rows = {row["sample_id"]: row for row in table.to_pylist()}
    suspect = np.array([rows[name]["suspect"] for name in ids])
    wrong = truth != labels
    assert suspect[wrong].mean() > 0.7
    assert wrong[suspect].mean() > 0.85
    found = [row for row, bad in zip((rows[name] for name in ids), wrong, strict=True) if bad and row["suspect"]]
    assert np.mean([row["suggested_label"] is not None for row in found]) > 0.9
    assert all(row["suspect"] == (row["p_wrong"] >= SUSPECT) for row in rows.values())
    # The chances are fair as a whole: they add up to what there is.
    assert sum(row["p_wrong"] for row in rows.values()) == pytest.approx(wrong.sum(), rel=0.3)


def test_of_a_clean_split_next_to_nothing_is_suspect():
    ids, _, labels, p, votes = world(2000, 0.0)
    assert sum(examine_labels(ids, "test", labels, p, votes, CLASSES)["suspect"].to_pylist()) <= 20


def test_the_most_suspect_come_first_whatever_the_order_of_the_rows():
    ids, _, labels, p, votes = world(1000, 0.2)
    table = examine_labels(ids, "test", labels, p, votes, CLASSES)
    chances = table["p_wrong"].to_pylist()
    assert chances == sorted(chances, reverse=True)
    order = np.random.default_rng(1).permutation(1000)
    assert examine_labels(ids[order], "test", labels[order], p[order], votes[order], CLASSES).equals(table)


def test_a_reason_says_what_both_observers_say():
    ids, _, labels, p, votes = world(1000, 0.2)
    (first, *_, last) = examine_labels(ids, "test", labels, p, votes, CLASSES).to_pylist()
    share = votes[list(ids).index(first["sample_id"]), CLASSES.index(first["label"])]
    assert first["reason"] == (
        f"given {first['label']} (p = {first['p_label']:.3f}), models that saw no held-out label say "
        f"{first['predicted']} (p = {first['p_predicted']:.3f}), {share:.0%} of the nearest training samples bear "
        f"{first['label']}; wrong with p = {first['p_wrong']:.3f}, {first['suggested_label']} suggested"
    )
    assert last["reason"] == f"believed: wrong with p = {last['p_wrong']:.3f}"


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(2, 5), st.integers(0, 99))
def test_a_handful_of_samples_is_examined_whatever_is_known_of_it(n, k, seed):
    generator = np.random.default_rng(seed)
    p = generator.dirichlet(np.ones(k), n).astype(np.float32)
    votes = generator.dirichlet(np.ones(k), n).astype(np.float32)
    ids = np.array([f"{i:02d}" for i in range(n)], dtype=object)
    labels = generator.integers(0, k, n)
    rows = examine_labels(ids, "validation", labels, p, votes, [str(c) for c in range(k)]).to_pylist()
    assert len(rows) == n
    for row in rows:
        assert row["p_wrong"] is None or 0 <= row["p_wrong"] <= 1
        assert row["p_wrong"] is not None or row["reason"].startswith("not known: ") or "or more" in row["reason"]


def test_of_a_class_that_no_observer_recognises_nothing_is_believed():
    """A tenth of all labels are right and of a class that both observers take for others."""
    ids, _, labels, p, votes = world(2000, 0.1)
    strange = np.arange(2000) % 10 == 0
    p, votes = (np.pad(array, ((0, 0), (0, 1))) for array in (p, votes))
    rows = examine_labels(ids, "test", np.where(strange, K, labels), p, votes, [*CLASSES, "elk"]).to_pylist()
    elks = [row for row in rows if row["label"] == "elk"]
    assert len(elks) == 200
    for row in elks:
        assert (row["p_wrong"], row["suspect"]) == (None, False)
        assert row["reason"] == "not known: the observers do not recognise class elk"
    assert any(row["suspect"] for row in rows)


def test_of_observers_at_chance_no_label_is_suspect():
    generator = np.random.default_rng(0)
    p, votes = (generator.dirichlet(np.ones(K), 81).astype(np.float32) for _ in range(2))
    ids = np.array([f"{i:02d}" for i in range(81)], dtype=object)
    table = examine_labels(ids, "test", generator.integers(0, K, 81), p, votes, CLASSES)
    assert not any(table["suspect"].to_pylist())
    assert set(table["p_wrong"].to_pylist()) == {None}


@given(st.integers(1, 3000), st.integers(2, 9))
def test_what_is_imagined_is_always_another_class_and_never_of_too_many(n, k):
    labels = np.arange(n) % k
    rows, other = draw_alternatives(labels, k)
    assert len(rows) == len(np.unique(rows)) == min(n, 2000)
    assert (other != labels[rows]).all()
    assert ((other >= 0) & (other < k)).all()
