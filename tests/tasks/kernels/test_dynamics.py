"""Figures are the means of a loop over recorded steps; every sample that was seen has them all."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from tasks.kernels.dynamics import Dynamics
from tasks.kernels.losses import Loss

CPU = torch.device("cpu")


def recorded(samples, epochs, size, k=3, seed=0):
    """Steps of ``epochs`` shuffled passes: (rows, outputs, labels, losses)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, k, (samples,), generator=generator)
    steps = []
    for _ in range(epochs):
        for rows in torch.randperm(samples, generator=generator).split(size):
            z = torch.randn(len(rows), k, generator=generator) * 2
            losses = torch.nn.functional.cross_entropy(z, labels[rows], reduction="none")
            steps.append((rows, z, labels[rows], losses))
    return steps


def by_loop(steps, samples, early):
    """Means by sample over lists of what each step said of it."""
    aum, loss, el2n, sei = ([[] for _ in range(samples)] for _ in range(4))
    for t, (rows, z, labels, losses) in enumerate(steps):
        for i, out, y, value in zip(rows.tolist(), z.double(), labels.tolist(), losses.tolist(), strict=True):
            aum[i].append(float(out[y] - max(v for j, v in enumerate(out) if j != y)))
            loss[i].append(value)
            entropy = -sum(float(q) * math.log(float(q)) for q in out.softmax(0)) / math.log(len(out))
            sei[i].append(entropy if int(out.argmax()) == y else -entropy)
            if t < early:
                p = out.softmax(0)
                p[y] -= 1
                el2n[i].append(float(p.norm()))
    return {
        name: np.array([np.mean(one) if one else np.nan for one in values])
        for name, values in (("aum", aum), ("mean_loss", loss), ("el2n", el2n), ("sei", sei))
    }


def told(steps, samples, planned, each_pass):
    dynamics = Dynamics(samples, planned, each_pass, CPU)
    for rows, z, labels, losses in steps:
        dynamics.note(rows, z, labels, losses)
    return {name: value.numpy() for name, value in dynamics.means().items()}


def agree(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)


@settings(deadline=None)
@given(st.integers(1, 15), st.integers(1, 12), st.integers(1, 7), st.integers(2, 5), st.integers(0, 99))
def test_the_figures_are_the_means_of_a_loop_over_the_steps(samples, epochs, size, k, seed):
    steps = recorded(samples, epochs, size, k, seed)
    each_pass = -(-samples // size)
    early = max(each_pass, round(len(steps) / 5))
    agree(told(steps, samples, len(steps), each_pass), by_loop(steps, samples, early))


@pytest.mark.parametrize("epochs", [1, 2, 4, 5, 20])
def test_every_sample_that_was_seen_has_all_its_figures_however_short_the_training(epochs):
    steps = recorded(40, epochs, 8)
    for values in told(steps, 40, len(steps), 5).values():
        assert np.isfinite(values).all()


@pytest.mark.parametrize("taken", [1, 3, 7, 8, 20])
def test_a_training_that_ends_sooner_than_planned_has_the_means_of_what_it_saw(taken):
    steps = recorded(12, 20, 12)[:taken]
    agree(told(steps, 12, 40, 1), by_loop(steps, 12, 8))


@pytest.mark.filterwarnings("error")
def test_a_sample_that_was_never_seen_has_none():
    found = told(recorded(5, 3, 2), 7, 9, 3)
    for values in found.values():
        assert np.isnan(values[5:]).all()
        assert np.isfinite(values[:5]).all()


def test_the_labels_are_those_of_the_step_and_its_gradient_is_let_go():
    dynamics = Dynamics(2, 1, 1, CPU)
    z = torch.tensor([[3.0, 0.0], [3.0, 0.0]], requires_grad=True)
    losses = z.logsumexp(1)
    dynamics.note(torch.tensor([0, 1]), z, torch.tensor([0, 1]), losses)
    means = dynamics.means()
    assert means["aum"].tolist() == [3.0, -3.0]
    assert not means["mean_loss"].requires_grad
    assert means["el2n"][0] < means["el2n"][1]


def test_doubt_counts_against_a_label_that_is_not_predicted_and_for_one_that_is():
    dynamics = Dynamics(4, 1, 1, CPU)
    unsure, sure = [0.1, 0.0], [60.0, 0.0]
    rows, labels = torch.arange(4), torch.tensor([0, 1, 0, 1])
    dynamics.note(rows, torch.tensor([unsure, unsure, sure, sure]), labels, torch.zeros(4))
    sei = dynamics.means()["sei"]
    assert sei[:2].tolist() == pytest.approx([1, -1], abs=0.01)
    assert sei[2:].tolist() == pytest.approx([0, 0], abs=1e-6)


def test_of_a_number_signed_entropy_is_the_loss_turned_round():
    dynamics = Dynamics(2, 1, 1, CPU)
    dynamics.note(torch.arange(2), torch.zeros(2, 1), torch.ones(2, 1), torch.tensor([1.0, 3.0]), Loss("squared_error"))
    assert dynamics.means()["sei"].tolist() == [-1, -3]


def test_half_precision_outputs_are_summed_in_full():
    dynamics = Dynamics(1, 4000, 1, CPU)
    z = torch.tensor([[2.0, 1.0]], dtype=torch.bfloat16)
    for _ in range(4000):
        dynamics.note(torch.tensor([0]), z, torch.tensor([0]), torch.ones(1, dtype=torch.bfloat16))
    assert dynamics.means()["aum"].item() == pytest.approx(1.0)
    assert dynamics.means()["mean_loss"].item() == pytest.approx(1.0)


def test_rows_and_labels_of_different_lengths_are_refused():
    with pytest.raises(TypeCheckError):
        Dynamics(3, 1, 1, CPU).note(torch.tensor([0, 1]), torch.zeros(2, 2), torch.tensor([0]), torch.zeros(2))
