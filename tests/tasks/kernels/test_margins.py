"""Every score is its formula, and one less cleanlab's quality; the more probable the given label, the less suspect."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from tasks.kernels.margins import confidence_weighted_entropy, margin, normalized_margin, self_confidence

OF_PROBABILITIES = [self_confidence, normalized_margin, confidence_weighted_entropy]


@st.composite
def outputs(draw, least=2):
    n, k = draw(st.integers(1, 20)), draw(st.integers(least, 6))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    z = (generator.normal(size=(n, k)) * draw(st.sampled_from([0.1, 1.0, 5.0, 30.0]))).astype(np.float32)
    e = np.exp(z - z.max(1, keepdims=True))
    return z, e / e.sum(1, keepdims=True), generator.integers(0, k, n)


@settings(deadline=None)
@given(outputs())
def test_the_margin_is_the_best_other_output_less_that_of_the_label(drawn):
    z, _, labels = drawn
    expected = [max(v for j, v in enumerate(row) if j != y) - row[y] for row, y in zip(z, labels, strict=True)]
    found = margin(z, labels)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@settings(deadline=None)
@given(outputs())
def test_scores_of_probabilities_are_one_less_the_quality_that_cleanlab_gives(drawn):
    _, p, labels = drawn
    k = p.shape[1]
    for row, y, confidence, normalised, weighted in zip(
        p.astype(float), labels, *(score(p, labels) for score in OF_PROBABILITIES), strict=True
    ):
        assert 1 - confidence == pytest.approx(row[y], abs=1e-6)
        other = max(v for j, v in enumerate(row) if j != y)
        assert 1 - normalised == pytest.approx((row[y] - other + 1) / 2, abs=1e-6)
        entropy = -sum(v * math.log(v) for v in row if v > 0) / math.log(k)
        u = max(entropy / max(row[y], 1e-6), 1e-6)
        assert 1 - weighted == pytest.approx(math.log(u + 1) / u, abs=1e-4)


@settings(deadline=None)
@given(outputs())
def test_scores_of_probabilities_lie_between_nought_and_one(drawn):
    _, p, labels = drawn
    for score in OF_PROBABILITIES:
        found = score(p, labels)
        assert np.isfinite(found).all()
        assert (found >= -1e-6).all()
        assert (found <= 1 + 1e-6).all()


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("score", OF_PROBABILITIES)
def test_a_certain_label_is_the_least_suspect_and_a_certain_other_the_most(score):
    p = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.4, 0.3, 0.3]], np.float32)
    right, wrong, unsure = score(p, np.zeros(3, np.int64))
    assert right == pytest.approx(0, abs=1e-6)
    assert right < unsure
    if score is not confidence_weighted_entropy:
        assert unsure < wrong == pytest.approx(1)


def test_entropy_over_confidence_does_not_suspect_a_network_that_is_certain_of_another_class():
    """H = 0 whichever class it is: cleanlab's own score has this gap, and so has ours."""
    p = np.array([[0.0, 1.0]], np.float32)
    assert confidence_weighted_entropy(p, np.array([0]))[0] == pytest.approx(0, abs=1e-6)


def test_outputs_are_left_as_they_are():
    z = np.array([[1.0, 2.0]], np.float32)
    margin(z, np.array([0]))
    assert z.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("score", [margin, *OF_PROBABILITIES])
def test_labels_of_another_length_or_kind_are_refused(score):
    with pytest.raises(TypeCheckError):
        score(np.ones((2, 3), np.float32), np.zeros(3, np.int64))
    with pytest.raises(TypeCheckError):
        score(np.ones((2, 3), np.float32), np.zeros(2))
