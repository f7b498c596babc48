"""A rare but valid sample survives and a wrong label does not, though both are suspect and far from their class."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.dataset.targets import Target
from tasks.decision.flagging import Flagging, audit, decide
from tasks.decision.guards import ADVICE, advise
from tasks.kernels.losses import Loss
from tasks.kernels.neighbours import nearest, votes
from tasks.pipeline.schemas import GRADIENTS, scores

A, B, RARE, WRONG = range(60), range(60, 120), range(120, 126), 126
N = 127
IDS = [f"{i:04d}" for i in range(N)]


class Seen(SimpleNamespace):
    """What the guards look at of a run's evidence."""

    def __len__(self) -> int:
        return len(self.labels)


def evidence_of(**other):
    """Two classes far apart; six of the first in a cluster beside the second; one of the first amid the second.

    The network that never saw them knows the six, but for the first of them, and takes the one for what surrounds it.
    """
    generator = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0]] * 60 + [[10.0, 0.0]] * 60 + [[10.0, 6.0]] * 6 + [[10.0, 0.0]])
    places = torch.from_numpy(centres + generator.normal(0, 0.5, (N, 2)))
    labels = np.array([0] * 60 + [1] * 60 + [0] * 7)
    predicted = labels.copy()
    predicted[[RARE[0], WRONG]] = 1
    found = torch.cat([near for _, near, _ in nearest(places, places, torch.arange(N), 20)])
    p = np.full((N, 2), 0.05, np.float32)
    p[np.arange(N), predicted] = 0.95
    seen = {
        "classes": ["a", "b"],
        "texts": pa.array(np.array(["a", "b"])[labels]),
        "ids": pa.array(IDS),
        "labels": labels,
        "logits": np.log(p),
        "outputs": torch.from_numpy(np.log(p)),
        "objective": Loss(),
        "target": Target(classes=("a", "b")),
        "probabilities": p,
        "votes": votes(found, torch.from_numpy(labels), 2).numpy(),
        "neighbours": found.numpy().astype(np.int32),
    }
    return Seen(**(seen | other))


def flags_of(advice, count, options):
    """The rare one and the wrong label are the most suspect of all."""
    suspicion = np.linspace(0, 1, N)
    suspicion[[RARE[0], WRONG]] = [10.0, 9.0]
    seen = evidence_of()
    samples = pa.table(
        {"sample_id": IDS, "label": np.array(["a", "b"])[seen.labels], "group": pa.nulls(N, pa.string())}
    )
    columns = {"sample_id": IDS, "fold": np.zeros(N, np.int16), "predicted": ["b"] * N}
    p = np.full(N, 0.5, np.float32)
    gradients = pa.table([pa.array(columns.get(name, p)) for name in GRADIENTS.names], schema=GRADIENTS)
    table = pa.table([pa.array(IDS), pa.array(suspicion)], schema=scores(["l2"]))
    return decide(table, samples, gradients, advice, count, options), samples


def test_a_far_cluster_is_rare_and_valid_and_a_wrong_label_amid_others_is_not():
    advice = advise(evidence_of(), None)
    assert advice.schema.equals(ADVICE)
    rare = {int(row["sample_id"]) for row in advice.to_pylist() if row["rare"]}
    assert rare == set(RARE)
    support = advice["support"].to_pylist()
    assert support[RARE[0]] == 5  # all of the nearest five
    assert support[WRONG] == 0


# The other five of the cluster are next by suspicion: they are kept where the budget reaches them, not before.
@pytest.mark.parametrize(("count", "kept"), [(2, 1), (4, 3), (7, 6)])
def test_the_rare_one_survives_the_flags_and_the_wrong_label_does_not(count, kept):
    flags, samples = flags_of(advise(evidence_of(), None), count, Flagging())
    rows = {int(row["sample_id"]): row for row in flags.to_pylist()}
    assert rows[WRONG]["flag"]
    assert not rows[RARE[0]]["flag"]
    assert rows[RARE[0]]["guard"] == "rare"
    assert rows[RARE[0]]["reason"] == (
        "kept: far from class a, but 5 of its nearest bear that label and are recognised: likely rare and valid"
    )
    # Nobody is flagged for those that are kept.
    assert [name for name, row in rows.items() if row["flag"]] == [WRONG]
    assert audit(flags, samples)["protected"].to_pylist() == [kept, 0]


def test_switched_off_the_rare_one_is_flagged_with_the_wrong_label():
    options = Flagging(rare="off")
    flags, _ = flags_of(advise(evidence_of(), None), 2, options)
    assert {int(name) for name in flags.filter(flags["flag"])["sample_id"].to_pylist()} == {RARE[0], WRONG}


def test_a_pair_is_no_cluster():
    seen = evidence_of()
    seen.labels[list(RARE[2:])] = 1  # two of the first class remain beside the second
    assert not any(advise(seen, None)["rare"].to_pylist())


def test_neighbours_that_the_network_does_not_recognise_confirm_nothing():
    seen = evidence_of()
    seen.logits[list(RARE)] = np.log([0.05, 0.95])
    assert not any(advise(seen, None)["rare"].to_pylist())


def test_fewer_listed_neighbours_than_it_takes_protect_nobody():
    seen = evidence_of()
    seen.neighbours = seen.neighbours[:, :2]
    assert not any(advise(seen, None)["rare"].to_pylist())


def test_the_better_label_is_suggested_and_as_probable_as_the_given_one_is_wrong():
    wrong = np.linspace(0.1, 0.9, N)
    table = advise(evidence_of(), SimpleNamespace(stated_probability=wrong, recognised=np.ones(len(wrong), bool)))
    rows = table.to_pylist()
    assert [row["p_wrong"] for row in rows] == wrong.tolist()
    assert rows[WRONG]["suggested_label"] == "b"
    # With two classes, a wrong label leaves one other.
    assert rows[WRONG]["p_suggested"] == pytest.approx(wrong[WRONG])
    assert (rows[0]["suggested_label"], rows[0]["p_suggested"]) == (None, None)


def test_of_a_class_that_no_observer_recognises_no_probability_is_said():
    recognised = np.arange(N) != WRONG
    wrong = np.where(recognised, np.linspace(0.1, 0.9, N), 0.0)
    rows = advise(evidence_of(), SimpleNamespace(stated_probability=wrong, recognised=recognised)).to_pylist()
    assert [row["p_wrong"] for row in rows] == [
        p if known else None for p, known in zip(wrong, recognised, strict=True)
    ]
    assert (rows[WRONG]["suggested_label"], rows[WRONG]["p_suggested"]) == ("b", None)


def test_without_canaries_there_is_a_suggestion_but_no_probability():
    rows = advise(evidence_of(), None).to_pylist()
    assert {row["p_wrong"] for row in rows} == {row["p_suggested"] for row in rows} == {None}
    assert rows[WRONG]["suggested_label"] == "b"
