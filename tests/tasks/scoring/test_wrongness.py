"""What is stated holds where it is known which labels are wrong, and nothing is stated where it cannot be known."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.decision.budgets import Ranking
from tasks.decision.budgets.canary import Canary
from tasks.kernels.canaries import ClassVotes, planted_labels
from tasks.kernels.tails import tail_of
from tasks.scoring.wrongness import Observations, belief_of, expectation_of, wrongness_of

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
    usual = ClassVotes(y[places], k)
    usual.add(y, v)
    planted = planted_labels(y[places], v[places], usual.means(), kinds, generator.random(len(places)))
    return Observations(p, v, y, places, planted), y != truth


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1, 0.2])
@pytest.mark.parametrize("k", [3, 10])
def test_the_range_holds_the_share_of_wrong_labels_and_is_narrow(kind, noise, k):
    """Up to .01: these observers are now and then wrong and sure."""
    shares = []
    for seed in range(8):
        observed, wrong = world(seed, n=4000, k=k, noise=noise, kind=kind, other_error=0.05)
        share = wrongness_of(observed).share
        shares.append(share.low - 0.01 <= wrong.mean() <= share.high + 0.01)
        assert share.high - share.low < 0.1
        assert share.value is not None or share.high < 0.02
    assert sum(shares) >= 7


def drawn_from_the_inputs(seed, n=2000, k=3, sharpness=1.5):
    """Labels drawn from p(y | x), none of them wrong, and observers that know p(y | x) as well as it can be known."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(n, k)) * sharpness
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    y = (p.cumsum(1) < generator.random(n)[:, None]).sum(1).clip(max=k - 1)
    p, v = (np.clip(p + generator.normal(0, 0.02, p.shape), 1e-3, 1).astype(np.float32) for _ in range(2))
    places = np.flatnonzero(generator.random(n) < 0.05)
    return Observations(p, v, y, places, (y[places] + 1) % k)


@pytest.mark.parametrize("sharpness", [0.7, 1.5, 3.0])
def test_of_labels_that_are_hard_to_predict_and_right_none_is_called_wrong(sharpness):
    for seed in range(5):
        observed = drawn_from_the_inputs(seed, sharpness=sharpness)
        said = wrongness_of(observed)
        assert said.share.low <= 0.01
        assert said.low.max() < 0.5
        mixed = next(each for each in said.diagnoses if each.subject == "unpredictability")
        if (observed.probabilities.argmax(1) != observed.labels).mean() > 0.1:
            assert said.stated_probability is None
            assert not mixed.passed
            assert "cannot tell which" in mixed.text


def test_of_observers_at_chance_nothing_is_known_and_it_says_so():
    for seed in range(5):
        generator = np.random.default_rng(seed)
        y = generator.integers(0, 3, 400)
        p, v = (generator.dirichlet(np.ones(3), 400).astype(np.float32) for _ in range(2))
        said = wrongness_of(Observations(p, v, y, np.arange(20), (y[:20] + 1) % 3))
        assert said.share is None
        assert said.stated_probability is None
        assert not said.low.any()
        (diagnosis,) = said.diagnoses
        assert (diagnosis.subject, diagnosis.passed) == ("network", False)
        assert diagnosis.text.endswith("no better than chance, so nothing is known of any label")


def test_dissent_from_a_class_that_no_observer_knows_is_no_evidence():
    observed, _ = world(0, n=3000, k=4)
    labels = observed.labels.copy()
    labels[:40] = 4  # a fifth class that is never predicted
    p, v = (np.pad(array, ((0, 0), (0, 1))) for array in (observed.probabilities, observed.votes))
    said = wrongness_of(
        Observations(p, v, labels, observed.canary_indices, observed.canary_labels), [*"abcd", "the rare one"]
    )
    assert not said.recognised[:40].any()
    assert said.recognised[40:].all()
    assert not said.low[:40].any()
    assert said.low[40:].max() > 0.8
    rare = next(each for each in said.diagnoses if each.subject == "rare classes")
    assert not rare.passed
    assert rare.text.startswith("the observers hardly ever recognise the rare one: ")


@pytest.mark.parametrize("strange", [0.1, 0.3])
def test_a_right_label_of_a_class_that_no_observer_knows_is_in_no_lower_end(strange):
    """Where none is wrong 8 and 24 % of the labels were stated to be, and right ones of other classes flagged."""
    observed, _ = world(0, n=1500, noise=0.0, error=0.05)
    generator = np.random.default_rng(0)
    labels = np.where(generator.random(1500) < strange, generator.integers(5, 60, 1500), observed.labels)
    p, v = (np.pad(array, ((0, 0), (0, 55))) for array in (observed.probabilities, observed.votes))
    said = wrongness_of(Observations(p, v, labels, observed.canary_indices, observed.canary_labels))
    assert (1 - said.recognised.mean()) == pytest.approx(strange, abs=0.03)
    assert said.share.low < 0.02
    assert said.share.high > 1 - said.recognised.mean()
    assert said.share.value is None


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_lower_reading_of_the_most_suspect_is_not_overstated(kind, mixed):
    for seed in range(5):
        observed, wrong = world(seed, n=4000, kind=kind, mixed=mixed)
        said = wrongness_of(observed)
        for top in (50, 200, round(said.share.low * 4000)):
            most = np.argsort(-said.low, kind="stable")[:top]
            assert said.low[most].mean() < wrong[most].mean() + 0.03


def test_labels_that_nobody_thinks_of_are_surely_wrong_unless_they_are_ranges_of_a_number():
    """Of how this dissent fades alone nothing would be sure."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, 800)
    y = np.where(generator.random(800) < 0.1, (truth + generator.integers(1, 4, 800)) % 4, truth)
    scores = generator.normal(0, 1, (800, 4)) + generator.normal(0, 0.3, (2, 800, 4)) + 4 * np.eye(4)[truth]
    p, v = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    shares = [
        wrongness_of(Observations(p, v, y, np.arange(40), (y[:40] + 1) % 4, ordered=ordered)).share
        for ordered in (False, True)
    ]
    assert 0.05 < shares[0].sure < (y != truth).mean()
    assert shares[1].sure == 0


def test_the_three_readings_rise():
    said = wrongness_of(world(0)[0])
    assert (said.low <= said.probability + 1e-9).all()
    assert (said.probability <= said.high + 1e-9).all()


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.2])
def test_the_belief_that_weighs_signals_sums_to_about_as_many_labels_as_are_wrong(noise):
    for seed in range(3):
        observed, wrong = world(seed, n=4000, noise=noise)
        assert belief_of(observed).mean() == pytest.approx(wrong.mean(), abs=0.006 + 0.12 * noise)


def test_signals_are_weighed_by_what_two_readings_expect_for_each_sees_little_of_some_data():
    """Observers of thirty classes that are often wrong themselves, as those of sets of labels are."""
    generator = np.random.default_rng(0)
    n, k = 2000, 30
    truth = generator.integers(k, size=n)
    wrong = generator.random(n) < 0.15
    y = np.where(wrong, (truth + generator.integers(1, k, n)) % k, truth)
    p, v = np.exp(1.5 * generator.normal(size=(2, n, k)) + np.array([4.0, 3.0])[:, None, None] * np.eye(k)[truth])
    places = np.arange(100)
    observed = Observations(
        (p / p.sum(1, keepdims=True)).astype(np.float32),
        (v / v.sum(1, keepdims=True)).astype(np.float32),
        y, places, (y[places] + 1) % k,
    )  # fmt: skip
    belief, expectation = belief_of(observed), expectation_of(observed)
    said = wrongness_of(observed)
    np.testing.assert_allclose(expectation, (belief + (said.low + said.high) / 2) / 2)
    assert belief.mean() < 0.06
    assert 0.08 < expectation.mean() < 0.2


def test_where_nothing_is_known_the_first_reading_is_all_that_is_expected():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 400)
    p, v = generator.dirichlet(np.ones(3), (2, 400)).astype(np.float32)
    observed = Observations(p, v, y, np.array([1, 2]), (y[1:3] + 1) % 3)
    assert wrongness_of(observed).share is None
    np.testing.assert_array_equal(expectation_of(observed), belief_of(observed))


def test_nothing_is_wrong_where_nobody_disagrees():
    y = np.arange(300) % 3
    sure = np.eye(3, dtype=np.float32)[y] * 0.9 + 0.033
    observed = Observations(sure, sure, y, np.array([3, 8]), np.array([1, 1]))
    said = wrongness_of(observed)
    assert said.share.low == 0
    assert said.share.high < 0.02
    assert not said.low.any()
    assert belief_of(observed).max() < 0.01


@pytest.mark.parametrize("n", [30, 300])
def test_of_few_labels_that_nobody_disputes_as_many_may_be_wrong_as_chance_allows(n):
    """By the likelihood 1.92 / n; no more than .04 % was stated of any n."""
    y = np.arange(n) % 3
    sure = np.eye(3, dtype=np.float32)[y] * 0.9 + 0.033
    share = wrongness_of(Observations(sure, sure, y, np.array([3, 8]), np.array([1, 1]))).share
    assert share.low == 0
    assert 1 - np.exp(-1.92 / n) < share.high < 4 / n


@pytest.mark.parametrize("places", [[], [0], [199]])
def test_strata_without_a_canary_and_classes_without_a_sample_leave_chances_that_are_chances(places):
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 2000)
    p, v = (generator.dirichlet(np.ones(6), 2000).astype(np.float32) for _ in range(2))
    observed = Observations(p, v, y, np.array(places, np.int64), np.full(len(places), 5))
    for chance in (belief_of(observed), wrongness_of(observed).high):
        assert ((chance >= 0) & (chance <= 1)).all()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_handful_of_samples_is_enough(n):
    y = np.arange(n) % 2
    p = np.full((n, 2), 0.5, np.float32)
    observed = Observations(p, p, y, np.array([0]), np.array([1]))
    for chance in (belief_of(observed), wrongness_of(observed).probability):
        assert ((chance >= 0) & (chance <= 1)).all()


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
    for read in (belief_of, lambda observations: wrongness_of(observations).probability):
        np.testing.assert_allclose(read(other), read(observed)[order], rtol=1e-6, atol=1e-9)


def test_what_is_said_repeats():
    observed, _ = world(0)
    one, again = wrongness_of(observed), wrongness_of(observed)
    assert one.share == again.share
    np.testing.assert_array_equal(one.probability, again.probability)


def test_noise_of_one_pair_is_told_from_noise_of_all():
    assert world(0, kind="pair")[0].concentration > 0.6 > 0.4 > world(0)[0].concentration


def test_of_classes_with_two_samples_nothing_is_stated():
    """Ten thousand of three rows had 70 to 88 % of their labels called wrong, where a tenth were."""
    observed, _ = world(0, n=600, k=300, noise=0.1)
    wrongness = wrongness_of(observed)
    assert wrongness.share is None
    assert not wrongness.high.any()
    assert wrongness.recognised.mean() < 0.5
    assert [(each.subject, each.passed) for each in wrongness.diagnoses] == [("network", True), ("rare classes", False)]
    ranking = Ranking(np.arange(600.0), observed.labels, observed.predicted, wrongness)
    assert Canary().find(ranking).model_dump(exclude_none=True) == {
        "count": 0,
        "note": "nothing is known of any label: the observers know the classes of too few",
    }


@pytest.mark.parametrize("share", [0.02, 0.07])
def test_numbers_typed_wrong_that_the_observers_have_learned_lie_within_the_range(share):
    """In the range that both observers name, for the typed ones taught them so: no dissent tells of these."""
    observed, _ = world(3, n=4000, k=5, noise=0.0, error=0.05)
    numbers = np.random.default_rng(0).normal(300, 40, 4000)
    typed = np.arange(4000) < share * 4000
    numbers[typed] *= 10
    observed = replace(observed, ordered=True)
    before = wrongness_of(observed)
    after = wrongness_of(replace(observed, tail=tail_of(numbers, numbers, 1.0)))
    assert before.share.high < share <= after.share.high <= before.share.high + share + 1e-12
    assert after.share.low == before.share.low
    assert after.diagnoses[-1].subject == "far labels"
    assert not after.diagnoses[-1].passed


def test_numbers_without_far_ones_keep_their_range():
    observed, _ = world(3, n=2000, k=5, noise=0.05)
    numbers = np.random.default_rng(0).normal(300, 80, 2000)
    before, after = (wrongness_of(each) for each in (observed, replace(observed, tail=tail_of(numbers, numbers, 1.0))))
    assert (after.share, after.diagnoses[:-1]) == (before.share, before.diagnoses)
    assert after.diagnoses[-1].passed


def test_far_numbers_are_told_even_where_nothing_is_known_of_any_label():
    p = np.full((200, 4), 0.25, np.float32)
    y, numbers = np.arange(200) % 4, np.r_[np.arange(199.0), 1e5]
    said = wrongness_of(
        Observations(p, p, y, np.arange(20), (y[:20] + 1) % 4, ordered=True, tail=tail_of(numbers, numbers, 1.0))
    )
    assert said.share is None
    assert [each.subject for each in said.diagnoses] == ["network", "far labels"]
