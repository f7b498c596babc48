"""A flip always lies: symmetric noise reaches every other class alike, asymmetric noise the next one, and
instance-dependent noise the one that the sample's own inputs say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from scipy import stats

from tasks.kernels.noise import InstanceTargets, flip_labels, flip_rates

uniform = st.floats(0, 1, exclude_max=True)


@given(st.integers(2, 12), st.lists(st.tuples(st.integers(0, 11), uniform, uniform), max_size=40), uniform)
def test_a_sample_flips_exactly_when_its_draw_is_below_the_share(k, rows, share):
    labels = np.array([y % k for y, _, _ in rows], np.int64)
    decide, choose = np.array([u for _, u, _ in rows], float), np.array([v for _, _, v in rows], float)
    for symmetric in (True, False):
        flipped = flip_labels(labels, decide, choose, share=share, classes=k, symmetric=symmetric)
        np.testing.assert_array_equal(flipped != labels, decide < share)
        assert ((flipped >= 0) & (flipped < k)).all()


@given(st.integers(2, 12), st.integers(0, 11), uniform)
def test_a_flip_goes_where_the_formula_says(k, label, choose):
    label %= k
    arguments = (np.array([label]), np.array([0.0]), np.array([choose]))
    symmetric = flip_labels(*arguments, share=0.5, classes=k, symmetric=True)
    assert symmetric.tolist() == [(label + 1 + int(choose * (k - 1))) % k]
    pair = flip_labels(*arguments, share=0.5, classes=k, symmetric=False)
    assert pair.tolist() == [(label + 1) % k]


@pytest.mark.parametrize("k", [2, 3, 10])
def test_symmetric_noise_hits_every_other_class_alike(k):
    n = 4000
    choose = (np.arange(n) + 0.5) / n
    for label in range(k):
        flipped = flip_labels(np.full(n, label), np.zeros(n), choose, share=1.0, classes=k, symmetric=True)
        counts = np.bincount(flipped, minlength=k)
        assert counts[label] == 0
        assert np.ptp(np.delete(counts, label)) <= 1


def test_a_share_of_zero_changes_nothing_and_the_given_labels_are_left_alone():
    labels, zeros = np.array([0, 1, 2]), np.zeros(3)
    assert flip_labels(labels, zeros, zeros, share=0.0, classes=3, symmetric=True).tolist() == [0, 1, 2]
    flip_labels(labels, zeros, zeros, share=1.0, classes=3, symmetric=True)
    assert labels.tolist() == [0, 1, 2]


def test_draws_of_another_length_are_refused():
    with pytest.raises(TypeCheckError):
        flip_labels(np.array([0, 1]), np.zeros(3), np.zeros(2), share=0.1, classes=2, symmetric=True)


# ---- instance-dependent noise ------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.95])
def test_the_flip_rates_are_scipys_truncated_normal(share):
    draw = (np.arange(1000) + 0.5) / 1000
    expected = stats.truncnorm(-share / 0.1, (1 - share) / 0.1, loc=share, scale=0.1)
    np.testing.assert_allclose(flip_rates(draw, share=share), expected.ppf(draw), atol=1e-9)
    lowest, highest = flip_rates(np.array([0.0, 1 - 2**-53]), share=share)
    assert 0 <= lowest < 1e-6 + max(0, share - 0.9)
    assert share + 0.04 < highest <= 1


def test_the_mean_rate_is_what_the_docstring_says():
    draw = (np.arange(100_000) + 0.5) / 100_000
    assert round(flip_rates(draw, share=0.1).mean(), 3) == 0.129
    assert round(flip_rates(draw, share=0.2).mean(), 3) == 0.206


def _one_target(x: np.ndarray, label: int, choose: float, k: int, seed: int, centre: bool) -> int:
    """The formula for one sample, spelled out."""
    z = [float(value) for value in x]
    d = len(z)
    mean = sum(z) / d if centre else 0.0
    norm = math.sqrt(sum((value - mean) ** 2 for value in z))
    z = [math.sqrt(d) * (value - mean) / norm if norm else 0.0 for value in z]
    if d > 64:
        signs = 2 * np.random.default_rng([seed, 0]).integers(0, 2, (d, 64), np.int8).astype(int) - 1
        z = [sum(z[i] * signs[i, j] for i in range(d)) / 8 for j in range(64)]
    w = np.random.default_rng([seed, 1 + label]).standard_normal((len(z), k))
    logits = {c: sum(z[i] * w[i, c] for i in range(len(z))) for c in range(k) if c != label}
    weights = {c: math.exp(logit - max(logits.values())) for c, logit in logits.items()}
    below = 0.0
    for c, weight in weights.items():
        below += weight
        if below > choose * sum(weights.values()):
            return c
    raise AssertionError("a draw below 1 always finds its class")


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("d", [1, 2, 64, 65, 100])
def test_the_targets_are_the_formulas(d, centre):
    random = np.random.default_rng(d)
    x, labels, choose = random.normal(3, 1, (40, d)), random.integers(0, 5, 40), random.random(40)
    x[0] = 7.0  # without a shape of its own
    x[1] = 0.0
    targets = InstanceTargets(d, 5, seed=11, centre=centre)(x, labels, choose)
    expected = [_one_target(*row, k=5, seed=11, centre=centre) for row in zip(x, labels, choose, strict=True)]
    assert targets.tolist() == expected


@given(st.integers(2, 12), st.lists(st.tuples(st.integers(0, 11), uniform), max_size=40), st.integers(-(2**63), 2**63))
def test_a_flip_by_instance_always_lies(k, rows, seed):
    labels, choose = np.array([y % k for y, _ in rows], np.int64), np.array([v for _, v in rows], float)
    for scale in (0.0, 1.0, 1e30):
        x = scale * np.random.default_rng(0).normal(size=(len(rows), 3))
        targets = InstanceTargets(3, k, seed, centre=False)(x, labels, choose)
        assert (targets != labels).all()
        assert ((targets >= 0) & (targets < k)).all()


def test_nearby_inputs_of_one_class_flip_to_the_same_class():
    random = np.random.default_rng(0)
    n, d, k = 500, 300, 10
    x, labels = random.normal(size=(n, d)), random.integers(0, k, n)
    near = x + 0.1 * random.normal(size=(n, d))
    targets = InstanceTargets(d, k, seed=0, centre=True)
    one, other = targets(x, labels, random.random(n)), targets(near, labels, random.random(n))
    # By chance one in nine would agree; another draw of the target seldom matters, so peaked are the probabilities.
    assert (one == other).mean() > 0.8
    far = targets(random.normal(size=(n, d)), labels, random.random(n))
    assert abs((one == far).mean() - 1 / 9) < 5 * np.sqrt(1 / 9 * 8 / 9 / n)


def test_brightness_and_contrast_choose_no_other_class():
    random = np.random.default_rng(0)
    x, labels, choose = random.random((200, 100)), random.integers(0, 10, 200), random.random(200)
    targets = InstanceTargets(100, 10, seed=0, centre=True)
    assert targets(x, labels, choose).tolist() == targets(0.2 * x + 5, labels, choose).tolist()


def test_a_seed_and_the_given_class_choose_another_direction():
    random = np.random.default_rng(0)
    x, choose = random.normal(size=(300, 100)), random.random(300)
    labels = np.zeros(300, np.int64)
    first = InstanceTargets(100, 10, seed=0, centre=True)(x, labels, choose)
    second = InstanceTargets(100, 10, seed=1, centre=True)(x, labels, choose)
    third = InstanceTargets(100, 10, seed=0, centre=True)(x, labels + 1, choose)
    assert (first == second).mean() < 0.3
    assert (first == third).mean() < 0.3


def test_a_target_depends_on_no_other_row():
    random = np.random.default_rng(0)
    x, labels, choose = random.normal(size=(300, 70)), random.integers(0, 10, 300), random.random(300)
    targets = InstanceTargets(70, 10, seed=3, centre=True)
    whole = targets(x, labels, choose)
    order = random.permutation(300)
    assert targets(x[order], labels[order], choose[order]).tolist() == whole[order].tolist()
    single = [targets(x[i : i + 1], labels[i : i + 1], choose[i : i + 1])[0] for i in range(300)]
    assert single == whole.tolist()
