"""In worlds with known noise the chances sum to about as many labels as are wrong, and the most suspect really are."""

import numpy as np
import pytest

from tasks.kernels.canaries import class_confusion, planted_labels
from tasks.scoring.wrongness import REPLICATES, Observations, wrongness_of

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def outputs(classes, k, sure, generator):
    """Shares that name ``classes``, the more certain the larger ``sure``."""
    p = generator.dirichlet(np.full(k, 0.3), len(classes)) * (1 - sure[:, None])
    p[np.arange(len(classes)), classes] += sure
    return p.astype(np.float32)


def world(seed, n=2000, k=5, noise=0.1, kind="symmetric", error=0.15, other_error=0.0, canaries=0.05, mixed=False):
    """What two observers say who err independently, the more the harder a sample: (observed, which are wrong)."""
    generator = np.random.default_rng(seed)
    truth, hard = generator.integers(0, k, n), generator.random(n)

    def elsewhere(where):
        return np.where(where, (truth + 1 + generator.integers(0, k - 1, n)) % k, truth)

    a, b = (elsewhere(generator.random(n) < most * hard**2) for most in (error, other_error))
    flips = generator.random(n) < noise
    y = np.where(flips, (truth + 1) % k, truth) if kind == "pair" else elsewhere(flips)
    p, v = (outputs(said, k, 0.55 + 0.4 * (1 - hard), generator) for said in (a, b))
    places = np.flatnonzero(generator.random(n) < max(canaries, min(0.2, 50 / n)))
    kinds = generator.integers(0, 3 if mixed else 1, len(places))
    planted = planted_labels(y[places], v[places], class_confusion(y, v, k), kinds, generator.random(len(places)))
    return Observations(p, v, y, places, planted), y != truth


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1, 0.2])
@pytest.mark.parametrize("k", [3, 10])
def test_the_chances_sum_to_about_as_many_labels_as_are_wrong(kind, noise, k):
    for seed in range(3):
        observed, wrong = world(seed, n=4000, k=k, noise=noise, kind=kind)
        assert wrongness_of(observed).share == pytest.approx(wrong.mean(), abs=0.006 + 0.12 * noise)


@pytest.mark.parametrize("other_error", [0.05, 0.15])
def test_observers_that_both_err_leave_the_estimate_below_the_truth_and_not_far(other_error):
    """Two that err independently disagree about twice as often as one errs, so that too much is put down to error."""
    shares = []
    for seed in range(5):
        observed, wrong = world(seed, n=4000, other_error=other_error)
        shares.append(wrongness_of(observed).share - wrong.mean())
    assert -0.06 < np.mean(shares) < 0.004


def test_two_classes_leave_canaries_of_wrong_labels_right():
    """The estimate is then D/(c − e) with c too low by the noise itself: a tenth too much at a tenth of noise."""
    for seed in range(3):
        observed, wrong = world(seed, n=4000, k=2)
        assert wrongness_of(observed).share == pytest.approx(wrong.mean(), rel=0.25)


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
@pytest.mark.parametrize("mixed", [False, True])
def test_what_is_said_of_the_most_suspect_is_not_overstated(kind, mixed):
    said, true = [], []
    for seed in range(5):
        observed, wrong = world(seed, n=4000, kind=kind, mixed=mixed)
        chance = wrongness_of(observed).probability
        for top in (50, 200, round(chance.sum())):
            most = np.argsort(-chance, kind="stable")[:top]
            said.append(chance[most].mean())
            true.append(wrong[most].mean())
    assert np.mean(said) == pytest.approx(np.mean(true), abs=0.06)
    assert np.mean(np.array(said) - true) < 0.03


def test_few_samples_are_one_stratum():
    for seed in range(10):
        observed, wrong = world(seed, n=50, k=3, noise=0.2)
        found = wrongness_of(observed)
        assert found.stratum.max() == 0
        assert abs(found.share - wrong.mean()) < 0.25
    assert wrongness_of(world(0, n=199)[0]).stratum.max() == 0
    assert wrongness_of(world(0, n=200)[0]).stratum.max() == 1
    assert wrongness_of(world(0, n=9000)[0]).stratum.max() == 19


def test_nothing_is_wrong_where_nobody_disagrees():
    y = np.arange(300) % 3
    sure = np.eye(3, dtype=np.float32)[y] * 0.9 + 0.033
    found = wrongness_of(Observations(sure, sure, y, np.array([3, 8]), np.array([1, 1])))
    assert found.share == 0
    assert not found.replicates.any()


@pytest.mark.parametrize("places", [[], [0], [199]])
def test_strata_without_a_canary_and_classes_without_a_sample_leave_chances_that_are_chances(places):
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 2000)
    p, v = (generator.dirichlet(np.ones(6), 2000).astype(np.float32) for _ in range(2))
    found = wrongness_of(Observations(p, v, y, np.array(places, np.int64), np.full(len(places), 5)))
    assert found.probability.min() >= 0
    assert found.probability.max() <= 1
    assert np.isfinite(found.replicates).all()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_handful_of_samples_is_enough(n):
    y = np.arange(n) % 2
    p = np.full((n, 2), 0.5, np.float32)
    found = wrongness_of(Observations(p, p, y, np.array([0]), np.array([1])))
    assert ((found.probability >= 0) & (found.probability <= 1)).all()


def test_the_order_of_samples_changes_nothing():
    observed, _ = world(0, n=600)
    order = np.random.default_rng(1).permutation(600)
    place = np.argsort(order)
    other = Observations(
        observed.probabilities[order],
        observed.votes[order],
        observed.labels[order],
        place[observed.canary_indices],
        observed.canary_labels,
    )
    np.testing.assert_allclose(wrongness_of(other).probability, wrongness_of(observed).probability[order], rtol=1e-9)


def test_replicates_scatter_around_the_estimate_and_repeat_by_their_seed():
    observed, _ = world(0)
    found = wrongness_of(observed)
    assert found.replicates.shape == (REPLICATES, 20, 2)
    assert np.abs(found.replicates.mean(0)).max() < 0.3
    np.testing.assert_array_equal(found.replicates, wrongness_of(observed).replicates)
    assert not np.array_equal(found.replicates, wrongness_of(observed, 1).replicates)
    np.testing.assert_array_equal(found.cells(), found.stratum * 2 + (observed.predicted != observed.labels))


def test_noise_of_one_pair_is_told_from_noise_of_all():
    assert world(0, kind="pair")[0].concentration > 0.6 > 0.4 > world(0)[0].concentration
