"""A weight is how often a row counts in the training loss, and in nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tasks.core.errors import BadInput
from tasks.dataset.payload import Payload
from tasks.dataset.samples import Inputs
from tasks.dataset.targets import Target
from tasks.training.fit import fit
from tasks.training.fit_together import Trained, fit_together
from tasks.training.models.logistic import Logistic
from tasks.training.models.mlp import Mlp
from tasks.training.recipe import Recipe, Training

PAYLOAD = Payload(kind="array", columns=("x",), shape=(3,), dtype="float32")
TARGET = Target(classes=("a", "b"))
SIGNS = torch.tensor([[a, b, c] for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-1.0, 1.0)])
N = len(SIGNS)
TWICE = [1, N - 2]
"""Rows opposite to one another: where both stand twice, mean and standard deviation stay what they are."""


def inputs_of(rows=tuple(range(N)), weights=None):
    rows = torch.tensor(rows)
    labels = torch.tensor([0, 0, 1, 0, 1, 1, 0, 1])[rows]
    ids = np.array([f"{i:02d}" for i in range(len(rows))], dtype=object)
    w = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    return Inputs(ids=ids, labels=labels, x=SIGNS[rows], weights=w)


def recipe_of(model=None, **options):
    training = Training(device="cpu", **{"epochs": 6, "batch_size": 64} | options)
    return Recipe(model=model or Logistic(), training=training)


def fitted(inputs, recipe=None, rows=None, dynamics=None):
    rows = np.arange(len(inputs.ids)) if rows is None else rows
    about = {"seed": 3, "label": "test", "dynamics": dynamics}
    return fit(recipe or recipe_of(), PAYLOAD, TARGET, inputs, rows, **about).state_dict()


def check_same(one, other):
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-5, atol=1e-6)


def differ(one, other):
    return not all(torch.allclose(value, other[name], atol=1e-3) for name, value in one.items())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_row_of_weight_two_counts_as_the_same_row_twice(optimizer):
    recipe = recipe_of(optimizer=optimizer)
    weighted = fitted(inputs_of(weights=[2.0 if i in TWICE else 1.0 for i in range(N)]), recipe)
    twice = fitted(inputs_of((*range(N), *TWICE)), recipe)
    once = fitted(inputs_of(), recipe)
    check_same(weighted, twice)
    assert differ(weighted, once)


@pytest.mark.parametrize("ones", [1.0, 0.1, 12345.0])
@pytest.mark.parametrize("options", [{}, {"batch_size": 3, "precision": "bf16"}])
def test_equal_weights_give_the_same_bits_as_none(ones, options):
    recipe = recipe_of(Mlp(hidden=[4], dropout=0.3), **options)
    with_weights, without = fitted(inputs_of(weights=[ones] * N), recipe), fitted(inputs_of(), recipe)
    assert all(torch.equal(value, without[name]) for name, value in with_weights.items())


def test_a_row_of_weight_nothing_teaches_nothing_though_a_batch_has_no_other():
    # In batches of one; the one below says nothing of what the others are.
    recipe, rows = recipe_of(batch_size=1, weight_decay=0, epochs=2), np.arange(N)
    inputs = inputs_of(weights=[1.0] * (N - 1) + [0.0])
    flipped = inputs.with_own_labels()
    flipped.labels[N - 1] = 1 - flipped.labels[N - 1]
    one, other = fitted(inputs, recipe, rows), fitted(flipped, recipe, rows)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert all(value.isfinite().all() for value in one.values())


def test_what_training_saw_of_a_sample_is_not_weighted():
    # One step: what it saw is of before it, whatever the weights make of it.
    recipe, dynamics = recipe_of(epochs=1), [{}, {}]
    fitted(inputs_of(weights=[float(i) for i in range(N)]), recipe, dynamics=dynamics[0])
    fitted(inputs_of(), recipe, dynamics=dynamics[1])
    assert all(torch.equal(values, dynamics[1][name]) for name, values in dynamics[0].items())


@pytest.mark.parametrize("batch_size", [64, 3])
def test_networks_trained_together_weigh_as_they_do_alone(batch_size):
    recipe = recipe_of(Mlp(hidden=[4]), batch_size=batch_size)
    inputs = inputs_of(weights=[float(1 + i * i) for i in range(N)])
    members = [Trained(inputs, np.arange(left, N), 3, f"network {left}") for left in (0, 1, 2)]
    together = fit_together(recipe, PAYLOAD, TARGET, members, steps=9)
    for network, member in zip(together, members, strict=True):
        alone = fit(recipe, PAYLOAD, TARGET, inputs, member.rows, seed=3, label="alone", steps=9).state_dict()
        for name, value in alone.items():
            torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    plain = replace(inputs, weights=None)
    unweighted = fit_together(recipe, PAYLOAD, TARGET, [m._replace(inputs=plain) for m in members], steps=9)
    assert differ(together[0].state_dict(), unweighted[0].state_dict())


@pytest.mark.parametrize("together", [1, 2])
def test_rows_that_all_weigh_nothing_train_no_network(together):
    inputs = inputs_of(weights=[0.0] * 4 + [1.0] * 4)
    members = [Trained(inputs, np.arange(4), seed, "fold 0") for seed in range(together)]
    with pytest.raises(BadInput, match=r"(?s)a weight above 0.*0 in all 4 of them.*--folds"):
        fit_together(recipe_of(), PAYLOAD, TARGET, members)
