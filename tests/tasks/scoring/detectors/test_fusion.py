"""Signals are weighed by what canaries and chances show, never against one; what samples lack is left out and told."""

from functools import partial

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.core.errors import BadConfig
from tasks.scoring.detectors import DetectorChoice

N, OUTLIER = 180, 37
# Signals that look at each sample by itself.
POINTWISE = ["margin", "aum", "neighbours", "label_flow"]


@pytest.fixture(scope="module")
def plain_of(evidence_of):
    """Without opinions from outside, of which test_opinion.py tells."""
    return partial(evidence_of, opinions={})


@pytest.fixture(scope="module")
def evidence(plain_of):
    return plain_of()


def fusion(**options):
    return DetectorChoice.model_validate({"kind": "fusion"} | options).component


def test_without_canaries_it_is_told_what_to_do(relabelled):
    assert not len(relabelled.canaries)
    with pytest.raises(BadConfig, match=r"detector fusion: expected canaries .* none among 180 .*canaries\.share"):
        fusion().score(relabelled)


def test_a_signal_that_some_samples_lack_is_dropped_and_told(plain_of, evidence):
    assert fusion().facts(evidence)["dropped"] == {}
    lacking = plain_of(untrained=(5, 6))
    assert np.isnan(lacking.dynamics("aum")[[5, 6]]).all()
    suspicion, facts = fusion().score(lacking), fusion().facts(lacking)
    assert facts["dropped"] == {"aum": "some samples lack it"}
    assert list(facts["weights"]) == [kind for kind in fusion().signals if kind != "aum"]
    assert np.isfinite(suspicion).all()
    np.testing.assert_array_equal(suspicion, fusion(signals=list(facts["weights"])).score(lacking))


def test_without_any_signal_it_says_which_were_asked_for(plain_of):
    with pytest.raises(BadConfig, match=r"option signals: expected a signal .* got aum, which some lack"):
        fusion(signals=["aum"]).score(plain_of(untrained=(5, 6)))


def test_a_canary_that_lacks_a_signal_under_its_planted_label_drops_it_too(plain_of, evidence):
    places = evidence.canary_ranks
    lacking = plain_of(untrained=(int(places[0]),))
    assert fusion().facts(lacking)["dropped"] == {"aum": "some samples lack it"}


@pytest.mark.parametrize(
    "signals",
    [
        ["margin"],
        ["margin", "random"],
        ["margin", "self_confidence", "normalized_margin", "l2"],
        ["margin", "aum", "neighbours", "label_flow", "mean_loss", "el2n", "iforest"],
    ],
)
@pytest.mark.parametrize("evenness", [0.0, 0.03, 10.0])
def test_weights_are_never_negative(evidence, signals, evenness, monkeypatch):
    monkeypatch.setattr("tasks.scoring.detectors.fusion._EVENNESS", evenness)
    facts = fusion(signals=signals).facts(evidence)
    assert list(facts["weights"]) == signals
    assert all(weight >= 0 for weight in facts["weights"].values())
    assert sum(facts["weights"].values()) > 0


def test_tails_are_bent_where_a_few_samples_far_out_hide_what_a_signal_tells(plain_of, monkeypatch):
    """Every tenth margin is stretched, whether its label is right or wrong."""
    from tasks.scoring.detectors import fusion as module

    losses, weigh, signal_of = [], module.weigh, module._signal

    def stretched(kind, evidence):
        signal = signal_of(kind, evidence)
        return np.where(np.arange(len(signal)) % 10, signal, signal * 200)

    def watched(*arguments):
        losses.append(weigh(*arguments).loss)
        return weigh(*arguments)

    monkeypatch.setattr(module, "_signal", stretched)
    monkeypatch.setattr(module, "weigh", watched)
    assert fusion(signals=["margin"]).facts(plain_of())["scale"] == "bent"
    straight, bent = losses
    assert bent < straight


@pytest.mark.parametrize("first", range(4))
def test_a_signal_of_chance_is_left_behind(evidence_of, world, first):
    """Every third label is wrong: where labels are told apart without doubt, no weight costs anything."""
    labels = world.labels[:N].copy()
    labels[first::3] = (labels[first::3] + 1 + np.arange(len(labels[first::3])) % 2) % 3
    weights = fusion(signals=["margin", "random"]).facts(evidence_of(labels=labels))["weights"]
    assert weights["random"] < 0.2 * weights["margin"]


@pytest.mark.parametrize(
    ("signals", "told"),
    [
        (["margin", "nosuch"], "got nosuch"),
        (["fusion"], "got fusion"),
        (["margin", "margin"], "got margin, margin"),
        ([], "at least 1 item"),
    ],
)
def test_signals_that_do_not_exist_or_come_twice_are_refused(signals, told):
    with pytest.raises(ValidationError, match=told):
        fusion(signals=signals)


def test_it_learns_the_same_whichever_evidence_it_is_shown(evidence):
    one, other = (fusion()._fit(shown) for shown in (evidence.with_given_labels, evidence.with_planted_labels))
    assert (one.signals, one.concentration) == (other.signals, other.concentration)
    for a, b in zip([*one.scale[:2], *one.weights], [*other.scale[:2], *other.weights], strict=True):
        np.testing.assert_array_equal(a, b)
    assert fusion().facts(evidence.with_given_labels) == fusion().facts(evidence.with_planted_labels)


def test_canaries_are_scored_by_the_label_they_are_shown_with(evidence):
    places = evidence.canary_ranks
    given, planted = (
        fusion(signals=POINTWISE).score(shown) for shown in (evidence.with_given_labels, evidence.with_planted_labels)
    )
    assert (given[places] < 0).all()
    assert (planted[places] > 0).all()
    assert given[OUTLIER] > 0
    rest = np.delete(np.arange(N), places)
    np.testing.assert_array_equal(planted[rest], given[rest])


def test_the_order_of_rows_and_of_classes_changes_nothing(referred, shuffled, reordered):
    expected = fusion().score(referred)
    np.testing.assert_array_equal(fusion().score(shuffled), expected)
    np.testing.assert_allclose(fusion().score(reordered), expected, rtol=1e-3, atol=1e-3)


def test_beyond_so_many_classes_there_is_no_flow(evidence_of, monkeypatch):
    monkeypatch.setattr("tasks.scoring.detectors.label_flow._MOST_CLASSES", 2)
    facts = fusion().facts(evidence_of())
    assert facts["dropped"]["label_flow"] == "3 classes, more than 2"
    assert facts["concentration"] == 0


def test_of_sets_of_labels_no_pair_of_sets_takes_the_place_of_the_signals(plain_of, monkeypatch):
    monkeypatch.setattr("tasks.scoring.wrongness.concentration", lambda _: 0.9)
    evidence = plain_of()
    assert fusion().facts(evidence)["concentration"] == 0.9
    sets = plain_of()
    sets.target = evidence.target.model_copy(update={"kind": "labels"})
    monkeypatch.setattr("tasks.scoring.canary_kinds.canary_kinds", lambda canaries, _: np.ones(len(canaries.ids)))
    facts = fusion().facts(sets)
    assert facts["concentration"] == 0
    assert "label_flow" in facts["weights"]


def test_where_each_class_is_taken_for_one_other_the_flow_alone_decides(plain_of, monkeypatch):
    monkeypatch.setattr("tasks.scoring.wrongness.concentration", lambda _: 1.0)
    evidence = plain_of()
    flow = DetectorChoice(kind="label_flow").component.score(evidence)
    np.testing.assert_allclose(fusion().score(evidence), flow, atol=1e-9)
