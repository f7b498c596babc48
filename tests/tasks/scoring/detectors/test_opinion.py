"""An opinion counts where it speaks; a good one moves the fusion, one of chance does not."""

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.core.errors import BadConfig
from tasks.kernels.ranking import average_precision
from tasks.scoring.detectors import DetectorChoice

N, OUTLIER, K = 180, 37, 3
SILENT = np.arange(0, N, 30)


def detector(kind, **options):
    return DetectorChoice.model_validate({"kind": kind} | options).component


@pytest.fixture(scope="module")
def noisy(evidence_of, world):
    """(makes evidence in which a third of the labels of one class is wrong, with these opinions; which are wrong)."""
    wrong = (np.arange(N) % 9 == 3) & ~np.isin(np.arange(N), [*np.arange(4, N, 10), OUTLIER])
    labels = world.labels[:N].copy()
    labels[wrong] = (labels[wrong] + 1) % K
    wrong[OUTLIER] = True
    return (lambda **opinions: evidence_of(labels=labels, opinions=opinions)), wrong


def guess(seed=0):
    p = np.random.default_rng(seed).dirichlet(np.ones(K), N)
    return p.astype(np.float32)


def test_the_score_is_the_mean_margin_of_the_opinions_that_speak_of_a_loop(evidence_of, world):
    other = guess()
    other[:100] = np.nan
    evidence = evidence_of(opinions={"one": world.opinion, "two": other})
    found = detector("opinion").score(evidence)
    for i in range(N):
        y, margins = evidence.labels[i], []
        for p in (world.opinion[i], other[i]):
            if not np.isnan(p).any():
                margins += [max(p[j] for j in range(K) if j != y) - p[y]]
        assert found[i] == pytest.approx(np.mean(margins) if margins else 0, abs=1e-5)


def test_a_sample_of_which_none_speaks_stands_between_confirmed_and_contradicted_ones(evidence):
    score = detector("opinion").score(evidence)
    assert (score[SILENT] == 0).all()
    assert score[OUTLIER] > 0
    assert (np.delete(score, [*SILENT, OUTLIER]) < 0).all()


def test_evidence_has_a_matrix_for_each_opinion_with_nothing_where_it_is_silent(evidence_of, world):
    evidence = evidence_of(opinions={"one": world.opinion, "two": guess()})
    assert evidence.opinion_names == ["one", "two"]
    np.testing.assert_array_equal(evidence.opinions[0], world.opinion)
    np.testing.assert_array_equal(evidence.opinions[1], guess())
    assert evidence.twin.opinions is evidence.opinions
    assert evidence.opinions[0].dtype == np.float32


def test_without_opinions_there_is_none_and_the_detector_says_what_to_do(evidence_of):
    evidence = evidence_of(opinions={})
    assert evidence.opinions == []
    with pytest.raises(BadConfig, match=r"detector opinion: expected opinions from outside, got none.*--opinions"):
        detector("opinion").score(evidence)


def test_the_fusion_takes_each_opinion_for_a_signal_and_a_good_one_lifts_it(noisy, world):
    make, wrong = noisy
    without, with_two = make(), make(good=world.opinion, guess=guess())
    weights = detector("fusion").facts(with_two)["weights"]
    assert list(weights)[-2:] == ["opinion good", "opinion guess"]
    assert weights["opinion guess"] < 0.2 * weights["opinion good"]
    before, after = (average_precision(detector("fusion").score(seen), wrong) for seen in (without, with_two))
    assert after >= before
    assert after > 0.9


def test_where_an_opinion_says_nothing_the_fusion_is_what_it_is_without(noisy, world):
    make, _ = noisy
    opinion = world.opinion.copy()
    opinion[1:60] = np.nan
    without, heard = (detector("fusion").score(make(**said)) for said in ({}, {"partial": opinion}))
    silent = np.isnan(opinion[:, 0])
    np.testing.assert_array_equal(heard[silent], without[silent])
    assert (heard[~silent] != without[~silent]).all()


def test_an_opinion_of_new_samples_alone_has_no_weight(evidence_of, world):
    new = np.arange(150, N)
    late = np.where(np.arange(N)[:, None] < 150, np.float32(np.nan), world.opinion)
    seen, without = (evidence_of(new=new, opinions=said) for said in ({"late": late}, {}))
    assert detector("fusion").facts(seen)["weights"]["opinion late"] == 0
    np.testing.assert_array_equal(detector("fusion").score(seen), detector("fusion").score(without))


def test_dawid_and_skene_hear_an_opinion_as_one_more_observer(noisy, world):
    make, wrong = noisy
    found = [
        average_precision(detector("dawid_skene").score(make(**said)), wrong) for said in ({}, {"o": world.opinion})
    ]
    assert found[1] >= found[0]


def test_a_fusion_cannot_name_opinions_as_a_signal():
    with pytest.raises(ValidationError, match="beside fusion and opinion"):
        detector("fusion", signals=["margin", "opinion"])
