"""Label-quality scores are one minus cleanlab's, and the filter's set is cleanlab's."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import BadConfig
from tasks.decision.budgets import BudgetChoice, Ranking
from tasks.scoring.detectors import DetectorChoice

OUTLIER = 37
QUALITIES = ["self_confidence", "normalized_margin", "confidence_weighted_entropy"]


def world(seed, n=200, k=4, noise=0.2, sharpness=1.0):
    """(probabilities, labels) of a network that is mostly right and samples whose label often is not."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, k, n)
    p = generator.dirichlet(np.full(k, 0.5), n) + sharpness * generator.random((n, 1)) * np.eye(k)[truth]
    labels = np.where(generator.random(n) < noise, generator.integers(0, k, n), truth)
    # cleanlab asks for two classes at least, and a label of each.
    labels[:k] = np.arange(k)
    return (p / p.sum(1, keepdims=True)).astype(np.float32), labels


def evidence_of(p, labels):
    shown = SimpleNamespace(probabilities=p, labels=labels)
    shown.score = lambda detector: detector.score(shown)
    return shown


def scored(kind, p, labels):
    return DetectorChoice(kind=kind).component.score(evidence_of(p, labels))


worlds = st.builds(
    world,
    seed=st.integers(0, 2**31),
    n=st.integers(20, 200),
    k=st.integers(2, 8),
    noise=st.floats(0, 0.6),
    sharpness=st.sampled_from([0.0, 0.3, 1.0, 30.0]),
)


@pytest.mark.parametrize("method", QUALITIES)
@given(world=worlds)
@settings(max_examples=60, deadline=None)
def test_suspicion_is_one_minus_the_quality_of_cleanlab(method, world):
    # Imported where it is needed: with it come datasets and pandas, and every worker collects this file.
    from cleanlab.internal.label_quality_utils import get_normalized_entropy
    from cleanlab.rank import get_label_quality_scores

    p, labels = world
    wide = p.astype(np.float64)
    quality = get_label_quality_scores(labels, wide, method=method, adjust_pred_probs=False)
    compared = np.ones(len(p), bool)
    if method == "confidence_weighted_entropy":
        # Below 1e-6 cleanlab divides log(1 + u) by that and not by u: the surest samples would be the most suspect.
        u = get_normalized_entropy(wide) / np.maximum(wide[np.arange(len(p)), labels], 1e-6)
        compared = u >= 1e-6
        assert (scored(method, p, labels)[~compared] < 1e-6).all()
    np.testing.assert_allclose(scored(method, p, labels)[compared], 1 - quality[compared], atol=2e-6)


@given(world=worlds)
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("ignore:May not flag all label issues")
def test_the_budget_threshold_with_the_value_one_flags_exactly_the_issues_of_cleanlab(world):
    from cleanlab.filter import find_label_issues

    p, labels = world
    suspicion = scored("confident_learning", p, labels)
    issues = find_label_issues(labels, p, n_jobs=1)
    assert ((suspicion > 1) == issues).all()
    np.testing.assert_allclose(suspicion - issues, scored("self_confidence", p, labels))
    standing = Ranking(suspicion=suspicion, labels=labels, predicted=p.argmax(1), wrongness=None)
    budget = BudgetChoice.model_validate({"kind": "threshold", "value": 1}).component
    assert budget.find(standing).count == issues.sum()


def test_without_noise_there_are_next_to_no_issues_and_with_it_many():
    clean, noisy = (
        DetectorChoice(kind="confident_learning").component.facts(
            evidence_of(*world(0, n=2000, noise=noise, sharpness=3))
        )
        for noise in (0.0, 0.3)
    )
    assert clean["issues"] < 100
    assert noisy["issues"] > 300


def test_the_wrong_label_of_a_run_is_an_issue(evidence):
    part = DetectorChoice(kind="confident_learning").component
    assert part.score(evidence)[OUTLIER] > 1
    assert part.facts(evidence) == {"issues": 1}


def test_a_missing_package_is_a_bad_option_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with pytest.raises(BadConfig, match=r"confident_learning: expected cleanlab, .*pip install -e '\.\[cleanlab\]'"):
        scored("confident_learning", *world(0))
