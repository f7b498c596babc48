"""Networks trained together are those that are trained alone, but for the last bits."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.core.errors import BadModel
from tasks.dataset.payload import Payload
from tasks.dataset.samples import Inputs
from tasks.dataset.targets import Target
from tasks.dataset.tokenizer import Tokens
from tasks.training.fit import fit
from tasks.training.fit_together import Trained, fit_together, stack_size, stacks_of
from tasks.training.models.cnn import Cnn
from tasks.training.models.logistic import Logistic
from tasks.training.models.mlp import Mlp
from tasks.training.recipe import Recipe, Training

PAYLOAD = Payload(kind="array", columns=("x",), shape=(5,), dtype="float32")
TARGET = Target(classes=("a", "b", "c"))
SAMPLES = 70


def inputs_of(seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = np.array([f"{i:03d}" for i in range(SAMPLES)], dtype=object)
    labels = torch.randint(0, 3, (SAMPLES,), generator=generator)
    return Inputs(ids=ids, labels=labels, x=torch.randn(SAMPLES, 5, generator=generator))


def recipe_of(model=None, **options):
    return Recipe(
        model=model or Mlp(hidden=[7]), training=Training(device="cpu", **{"epochs": 3, "batch_size": 16} | options)
    )


def members_of(inputs, removed, kept=()):
    return [
        Trained(
            inputs, np.arange(SAMPLES - count), 5 + i, f"network {i}", *(({e: {} for e in kept}, {}) if kept else ())
        )
        for i, count in enumerate(removed)
    ]


def alone(recipe, member, steps=None):
    inputs, rows, seed, label, states, dynamics = member
    about = {"steps": steps, "states": states, "dynamics": dynamics}
    return fit(recipe, PAYLOAD, TARGET, inputs, rows, seed=seed, label=label, **about)


def check_same(ours, theirs):
    for network, other in zip(ours, theirs, strict=True):
        assert not network.training
        for name, value in other.state_dict().items():
            torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "sgd", "decay": "weights"},
        {"schedule": "step", "label_smoothing": 0.1},
        {"loss": "squared_error", "batch_size": 80},
    ],
)
@pytest.mark.parametrize("model", [Mlp(hidden=[7]), Mlp(hidden=[7], dropout=0.4), Logistic()])
def test_arms_of_different_sizes_are_those_that_are_trained_alone(model, options):
    recipe, inputs = recipe_of(model, **options), inputs_of()
    relabelled = inputs.with_own_labels()
    relabelled.relabel(np.arange(4), pa.array(["c"] * 4), TARGET)
    members = [*members_of(inputs, [0, 5, 23]), Trained(relabelled, np.arange(SAMPLES - 1), 9, "relabelled")]
    check_same(fit_together(recipe, PAYLOAD, TARGET, members, steps=14), [alone(recipe, m, 14) for m in members])


@pytest.mark.parametrize("kept", [[3], [0, 1], [1, 2]])
def test_folds_leave_the_states_and_the_dynamics_that_they_leave_alone(kept):
    # The last has a batch less an epoch than the others, and so a stack of its own.
    recipe, removed = recipe_of(checkpoint_epochs=kept), [0, 3, 5, 20]
    ours, theirs = (members_of(inputs_of(), removed, kept) for _ in range(2))
    check_same(fit_together(recipe, PAYLOAD, TARGET, ours), [alone(recipe, member) for member in theirs])
    for mine, other in zip(ours, theirs, strict=True):
        assert list(mine.states) == list(other.states)
        for epoch, state in other.states.items():
            assert list(mine.states[epoch]) == list(state)
            for name, value in state.items():
                torch.testing.assert_close(mine.states[epoch][name], value, rtol=1e-4, atol=1e-5)
        for name, values in other.dynamics.items():
            torch.testing.assert_close(mine.dynamics[name], values, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_only_small_networks_of_plain_recipes_are_trained_together():
    image = Payload(kind="image", columns=("x",), shape=(1, 8, 8), dtype="uint8")
    words = Tokens(tokenizer="words", digest="", vocabulary=9, pad=0)
    text = Payload(kind="tokens", columns=("x",), shape=(9,), dtype="int32", tokens=words)
    assert stack_size(recipe_of(), PAYLOAD, TARGET) == 32
    assert stack_size(recipe_of(), image, TARGET) == 32
    assert stack_size(recipe_of(batch_size=1 << 20), PAYLOAD, TARGET) == 6
    for recipe, payload in (
        (recipe_of(Mlp(hidden=[20_000])), PAYLOAD),
        (recipe_of(Cnn(width=2)), image),
        (recipe_of(), text),
        (recipe_of(precision="bf16"), PAYLOAD),
        (recipe_of(compile=True), PAYLOAD),
        (recipe_of(augment="crop_flip"), PAYLOAD),
    ):
        assert stack_size(recipe, payload, TARGET) == 1


def test_a_training_that_diverges_is_refused_by_the_name_of_its_network():
    inputs = inputs_of()
    inputs.x[3] = 1e30
    members = [Trained(inputs, np.arange(10, 60), 1, "sound"), Trained(inputs, np.arange(50), 2, "broken")]
    with pytest.raises(BadModel, match=r"training \(broken\)"):
        fit_together(recipe_of(optimizer="sgd", lr=1e30), PAYLOAD, TARGET, members[1:] * 2, steps=9)


@pytest.mark.parametrize(
    ("count", "size", "lengths"), [(20, 32, [20]), (5, 1, [1] * 5), (33, 32, [16, 17]), (0, 4, [])]
)
def test_stacks_keep_the_order_and_are_of_equal_length(count, size, lengths):
    stacks = stacks_of(list(range(count)), size)
    assert [len(stack) for stack in stacks] == lengths
    assert [item for stack in stacks for item in stack] == list(range(count))
