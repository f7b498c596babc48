"""Noise is what the labels say over and above how two observers confuse the classes; transitions are always usable."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from tasks.kernels.transitions import Pairs, concentration, label_flow, pair_chances, pair_shares, pairs_of, transitions

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@st.composite
def observed(draw, most=60):
    n, k = draw(st.integers(1, most)), draw(st.integers(2, 6))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    # Often not all classes are seen: by the network, by the vote, or among the labels.
    a, b, y = (generator.integers(0, draw(st.integers(1, k)), n) for _ in range(3))
    return a, b, y, k


def world(n=6000, k=5, noise=0.2, kind="pair", error=0.1, seed=0, among=2):
    """Two observers with errors between the first classes only, and labels with noise: (a, b, y, wrong)."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, k, n)

    def confusing():
        mixed = (truth < among) & (generator.random(n) < error)
        return np.where(mixed, (truth + generator.integers(1, among, n)) % among, truth)

    step = np.ones(n, int) if kind == "pair" else 1 + generator.integers(0, k - 1, n)
    y = np.where(generator.random(n) < noise, (truth + step) % k, truth)
    return confusing(), confusing(), y, y != truth


@given(observed())
def test_counts_are_those_of_a_loop(drawn):
    a, b, y, k = drawn
    labelled, confused = np.zeros((k, k)), np.zeros((k, k))
    for i, j, c in zip(a, b, y, strict=True):
        labelled[i, c] += 1
        confused[i, j] += 0.5
        confused[j, i] += 0.5
    found = pairs_of(a, b, y, k)
    np.testing.assert_array_equal(found.matrix(found.joint), labelled)
    np.testing.assert_array_equal(found.matrix(found.confusion), confused)
    assert (np.diff(found.keys) > 0).all()
    assert (found.joint + found.confusion > 0).all()


def every_chance(pairs):
    """Of each pair of classes, k × k."""
    j, c = np.divmod(np.arange(pairs.classes**2), pairs.classes)
    return pair_chances(pairs, j, c).reshape(pairs.classes, pairs.classes)


@given(observed())
def test_pairs_of_many_classes_are_counted_without_a_matrix_and_alike(drawn):
    """As of so many classes that their square is far more than the samples."""
    a, b, y, k = drawn
    few = pairs_of(a, b, y, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.kernels.transitions._AT_A_TIME", 0)
        many = pairs_of(a[:3], b[:3], y[:3], k)
    again = pairs_of(a[:3], b[:3], y[:3], k)
    for one, other in zip(many, again, strict=True):
        np.testing.assert_array_equal(one, other)
    excess = np.clip((few.matrix(few.joint) - few.matrix(few.confusion)) / (few.matrix(few.joint) + 1), 0, 1)
    np.fill_diagonal(excess, 0.01)
    np.testing.assert_array_equal(every_chance(few), excess)
    np.testing.assert_array_equal(pair_chances(few, a, y), excess[a, y])


def test_pairs_of_ten_thousand_classes_take_no_more_than_their_samples():
    generator = np.random.default_rng(0)
    a, b, y = generator.integers(0, 10_000, (3, 30_000))
    tracemalloc.start()
    pairs = pairs_of(a, b, y, 10_000)
    chance, few = pair_chances(pairs, a, y), concentration(pairs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert len(pairs.keys) <= 90_000
    assert pairs.joint.sum() == pairs.confusion.sum() == 30_000
    assert chance.shape == (30_000,)
    assert 0 <= few <= 1


@given(observed())
def test_chances_and_transitions_are_probabilities_whatever_was_seen(drawn):
    *_, k = drawn
    pairs = pairs_of(*drawn)
    chance, noise = every_chance(pairs), transitions(pairs)
    assert chance.min() >= 0
    assert chance.max() < 1
    assert (np.diag(chance) == 0.01).all()
    np.testing.assert_allclose(noise.sum(1), 1)
    assert noise.min() > 0
    assert np.diag(noise).min() >= 0.1 - 1e-9
    assert 0 <= concentration(pairs) <= 1
    assert noise.shape == (k, k)


@given(observed(), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_flow_is_finite_whatever_was_seen(drawn, sure):
    a, b, y, k = drawn
    thought = sure * np.eye(k)[a] + (1 - sure) * np.eye(k)[b]
    assert np.isfinite(label_flow(thought, transitions(pairs_of(*drawn)), y)).all()


def test_classes_that_the_network_never_predicts_leave_the_flow_finite():
    """Their rows know nothing and are all alike, so that the transitions have no inverse."""
    k, y = 10, np.arange(1000) % 10
    a = y % 7
    noise = transitions(pairs_of(a, a, y, k))
    assert np.linalg.matrix_rank(noise) < k
    assert np.isfinite(label_flow(np.eye(k)[a], noise, y)).all()


@pytest.mark.parametrize("swapped", [0.3, 0.5, 0.6, 0.9])
def test_two_classes_that_are_swapped_leave_the_flow_finite_and_the_others_alone(swapped):
    noise = np.eye(4)
    noise[:2, :2] = [[1 - swapped, swapped], [swapped, 1 - swapped]]
    thought = np.full((4, 4), 0.02) + 0.92 * np.eye(4)
    found = label_flow(thought, noise, np.arange(4))
    assert np.isfinite(found).all()
    assert (found[2:] < -3).all()
    assert (np.abs(found) < 30).all()


def test_nearly_equal_rows_do_not_blow_up_what_is_thought():
    noise = np.array([[0.5 + 1e-9, 0.5 - 1e-9, 0.0], [0.5 - 1e-9, 0.5 + 1e-9, 0.0], [0.0, 0.0, 1.0]])
    thought = np.array([[0.49, 0.49, 0.02], [0.5, 0.48, 0.02]])
    even, nearly = label_flow(thought, noise, np.array([0, 0]))
    assert nearly == pytest.approx(even, abs=0.1)


def test_the_excess_over_confusion_is_the_noise():
    a, b, y, wrong = world()
    chance, noise = every_chance(pairs_of(a, b, y, 5)), transitions(pairs_of(a, b, y, 5))
    # Classes 2, 3, 4 are never confused: their noise is read off.
    for j in (2, 3, 4):
        assert noise[j, (j + 1) % 5] == pytest.approx(0.2, abs=0.03)
        assert chance[j, (j + 1) % 5] > 0.95
    # 0 and 1 are, both ways; of 1 → 0 there is no noise at all, though a tenth is labelled so.
    called = (a == 1) & (y == 0)
    assert wrong[called].mean() < chance[1, 0] + 0.1 < 0.35
    assert noise[1, 0] < 0.05
    assert noise[0, 1] > 0.08  # a fifth in truth: half of it hides in the confusion


def test_concentration_tells_noise_of_one_pair_from_noise_of_all():
    assert concentration(pairs_of(*world(kind="pair")[:3], 5)) > 0.7
    assert concentration(pairs_of(*world(kind="symmetric")[:3], 5)) < 0.3
    assert concentration(pairs_of(*world(noise=0.0, error=0.0)[:3], 5)) == 0
    # One pair of two: x = 4/13, v = 4/13², N = x²/(x² − v) = 4/3.
    pairs = Pairs(2, np.array([0, 1, 3]), np.array([9.0, 4.0, 9.0]), np.array([1.0, 0.0, 1.0]))
    assert concentration(pairs) == pytest.approx(1 - 4 / 3 / 2)


@given(observed(most=400))
def test_the_concentration_is_that_of_a_loop(drawn):
    pairs, k = pairs_of(*drawn), drawn[-1]
    joint, confusion = pairs.matrix(pairs.joint), pairs.matrix(pairs.confusion)
    total = squares = spread = 0.0
    rows = np.zeros((k, 4))
    for j in range(k):
        n = max(joint[j].sum(), 1)
        for c in range(k):
            excess = (joint[j, c] - confusion[j, c]) / n
            chance = (joint[j, c] + confusion[j, c]) / n**2
            if j != c and excess > 0:
                total += excess
                squares += excess**2 - chance
                spread += 2 * chance**2
                rows[j] += excess, excess**2 - chance, joint[j, c] - confusion[j, c], 2 * chance**2
    expected = 0.0
    if squares > 2 * spread**0.5 + 1e-12:
        clear = [row for row in rows if row[1] > 2 * row[3] ** 0.5]
        if sum(row[2] for row in clear) >= rows[:, 2].sum() / 2:
            mean = sum(w * min(max(x * x / y, 1), k - 1) for x, y, w, _ in clear)
            others = mean / sum(row[2] for row in clear)
        else:
            others = min(max((rows[:, 0] ** 2).sum() / squares, 1), k - 1)
        expected = (k - 1 - others) / (k - 2) if k > 2 else max(0, 1 - total**2 / squares / 2)
    assert concentration(pairs) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("k", "scattered", "most"), [(3, 0.05, 0.8), (10, 0.05, 0.7), (10, 0.1, 0.55)])
def test_a_pair_that_stands_out_does_not_speak_for_wrong_labels_elsewhere(k, scattered, most):
    generator = np.random.default_rng(0)
    truth = generator.integers(0, k, 20_000)
    alone = np.where((truth == 0) & (generator.random(len(truth)) < 0.3), 1, truth)
    other = (truth + generator.integers(1, k, len(truth))) % k
    both = np.where((alone == truth) & (generator.random(len(truth)) < scattered), other, alone)
    assert concentration(pairs_of(truth, truth, alone, k)) > 0.95
    assert concentration(pairs_of(truth, truth, both, k)) < most


@pytest.mark.parametrize("n", [300, 1500, 6000])
@pytest.mark.parametrize("k", [2, 5, 10])
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("few", [True, False])
def test_chance_alone_keeps_to_no_pairs(n, k, noise, few):
    """Without noise, or with as much of every kind, whether observers err among two classes or among all of them."""
    among = 2 if few else k
    found = [concentration(pairs_of(*world(n, k, noise, "symmetric", 0.05, seed, among)[:3], k)) for seed in range(20)]
    # What hides in the observers' own confusion of two classes is missing there: no noise is quite even then.
    assert np.mean(found) < 0.16
    assert noise or max(found) == 0


@pytest.mark.parametrize("n", [1500, 6000])
@pytest.mark.parametrize("k", [5, 10])
@pytest.mark.parametrize("noise", [0.05, 0.2, 0.4])
def test_noise_from_each_class_to_one_other_is_told_for_what_it_is(n, k, noise):
    found = [concentration(pairs_of(*world(n, k, noise, "pair", 0.05, seed, k)[:3], k)) for seed in range(10)]
    assert np.mean(found) == pytest.approx(1, abs=0.1)


def test_the_share_of_a_pair_is_how_much_of_the_noise_it_has_beside_the_others():
    a, b, y, _ = world(kind="pair")
    pairs, truly = pairs_of(a, b, y, 5), np.arange(5)
    to_the_next = pair_shares(pairs, truly, (truly + 1) % 5)
    assert (to_the_next > 2).all()
    assert (pair_shares(pairs, truly, (truly - 1) % 5) < 0.5).all()
    every = np.argwhere(~np.eye(5, dtype=bool))
    assert pair_shares(pairs, *every.T).mean() == pytest.approx(1)
    alike = pairs_of(truly, truly, truly, 5)
    np.testing.assert_array_equal(pair_shares(alike, truly, (truly + 1) % 5), 1)


def test_few_samples_do_not_look_like_few_pairs():
    found = [concentration(pairs_of(*world(seed=seed, n=300, kind="symmetric")[:3], 5)) for seed in range(10)]
    assert np.mean(found) < 0.35


def test_the_flow_is_bayes_rule_under_the_transitions():
    generator = np.random.default_rng(0)
    eta, noise = (
        generator.dirichlet(np.ones(3) * 5, 40),
        np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.05, 0.15, 0.8]]),
    )
    y = generator.integers(0, 3, 40)
    found = label_flow(eta @ noise, noise, y)
    for row, label, flow in zip(eta, y, found, strict=True):
        right = row[label] * noise[label, label]
        assert flow == pytest.approx(
            np.log(sum(row[j] * noise[j, label] for j in range(3) if j != label) / right), rel=1e-6
        )


def test_a_label_that_noise_explains_better_than_confusion_is_above_nought():
    a, b, y, wrong = world(noise=0.3)
    thought = 0.9 * np.eye(5)[a] + 0.1 * np.eye(5)[b]
    flow = label_flow(thought.astype(np.float32), transitions(pairs_of(a, b, y, 5)), y)
    sure = a > 1
    assert ((flow[sure] > 0) == wrong[sure]).mean() > 0.99


def test_labels_of_another_length_or_kind_are_refused():
    with pytest.raises(TypeCheckError):
        label_flow(np.ones((2, 3)) / 3, np.eye(3), np.zeros(3, np.int64))
    with pytest.raises(TypeCheckError):
        label_flow(np.ones((2, 3)) / 3, np.eye(4), np.zeros(2, np.int64))
