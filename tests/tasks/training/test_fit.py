"""The same arguments give the same weights, every sample takes part, and a training that failed says so."""

import math
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tasks.core.errors import BadConfig, BadModel
from tasks.dataset.payload import Payload
from tasks.dataset.samples import Inputs
from tasks.dataset.targets import Target
from tasks.kernels.losses import Loss
from tasks.training.fit import EVALUATION_BATCH, build, fit, predict
from tasks.training.models import Model
from tasks.training.models.cnn import Cnn
from tasks.training.models.logistic import Logistic
from tasks.training.models.mlp import Mlp
from tasks.training.modules import Standardize
from tasks.training.optimizer import learning_rate, optimizer_of, resident
from tasks.training.recipe import Recipe, Training

VECTOR = Payload(kind="array", columns=("x",), shape=(4,), dtype="float32")
IMAGE = Payload(kind="array", columns=("x",), shape=(1, 8, 8), dtype="uint8")
CPU = {"device": "cpu"}
THREE = Target(classes=("a", "b", "c"))


def inputs_of(x, classes=3):
    n = len(x)
    ids = np.array([f"{i:04d}" for i in range(n)], dtype=object)
    return Inputs(ids=ids, labels=torch.arange(n) % classes, x=x)


def vectors(n=30):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    x[torch.arange(n), torch.arange(n) % 3] += 3
    return inputs_of(x)


def pictures(n=24):
    return inputs_of(torch.randint(0, 256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte())


def fitted(
    model=None, inputs=None, rows=None, *, seed=0, steps=None, kept=None, dynamics=None, payload=VECTOR, **options
):
    inputs = inputs or vectors()
    rows = np.arange(len(inputs.ids)) if rows is None else rows
    training = Training(**({"epochs": 2, "batch_size": 8} | CPU | options))
    return fit(
        Recipe(model=model or Mlp(hidden=[6], dropout=0.3), training=training),
        payload,
        THREE,
        inputs,
        rows,
        seed=seed,
        label="test",
        steps=steps,
        states=kept,
        dynamics=dynamics,
    )


def same(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Recorder(nn.Module):
    """A network on one-hot samples that remembers, while training, whom it saw and in what company."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)
        self.norm = nn.BatchNorm1d(classes)
        self.head = nn.Linear(classes, classes)
        self.register_buffer("seen", torch.zeros(width, dtype=torch.int64))
        self.sizes: list[int] = []
        self.said: list[tuple[list[int], torch.Tensor]] = []

    def forward(self, x):
        if self.training:
            self.seen += torch.bincount(x.argmax(1), minlength=len(self.seen))
            self.sizes.append(len(x))
        outputs = self.head(self.norm(self.linear(x)))
        if self.training:
            self.said.append((x.argmax(1).tolist(), outputs.detach().clone()))
        return outputs


class Recording(Model, kind="recording"):
    def build(self, payload, classes):
        return Recorder(payload.shape[0], classes)


def recorded(n, **options):
    payload = Payload(kind="array", columns=("x",), shape=(n,), dtype="float32")
    return fitted(Recording(), inputs_of(torch.eye(n), 3), payload=payload, **options)[1]


# ---- the recipe --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "squared_error"])
@pytest.mark.parametrize("kept", [None, 2])
def test_the_recipe_is_the_plain_loop_it_says_it_is(optimizer, kept, loss):
    inputs, seed, epochs, size = vectors(20), 3, 3, 8
    found = fitted(
        Logistic(), inputs, seed=seed, epochs=epochs, optimizer=optimizer, loss=loss, kept=kept and {kept: {}}
    )

    torch.manual_seed(seed)
    twin = build(Logistic(), VECTOR, 3)
    x = ((inputs.x.double() - inputs.x.double().mean(0)) / inputs.x.double().std(0, correction=0)).float()
    network = twin[1]
    peak = {"adamw": 3e-3, "sgd": 0.1}[optimizer]
    if optimizer == "adamw":
        how = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=5e-4)
    else:
        how = torch.optim.SGD(network.parameters(), lr=peak, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(how, peak, total_steps=epochs * 3 + 1, cycle_momentum=False)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(kept or epochs):
        order = torch.randperm(20, generator=generator)
        for first in range(0, 20, size):
            batch = order[first : first + size]
            z, t = network(x[batch]), nn.functional.one_hot(inputs.labels[batch], 3).float()
            by_sample = {
                "cross_entropy": -(t * z.log_softmax(1)).sum(1),
                "binary_cross_entropy": -(t * z.sigmoid().log() + (1 - t) * (1 - z.sigmoid()).log()).sum(1),
                "squared_error": ((z - t) ** 2).sum(1) / 2,
            }[loss]
            how.zero_grad()
            by_sample.mean().backward()
            how.step()
            schedule.step()
    for a, b in zip(found[1].parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_the_same_arguments_give_the_same_weights_and_another_seed_others():
    assert same(fitted(seed=1), fitted(seed=1))
    assert not same(fitted(seed=1), fitted(seed=2))


def test_the_random_state_of_the_process_neither_matters_nor_changes():
    torch.manual_seed(1)
    first = fitted()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert same(fitted(), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_concurrent_fits_give_what_they_give_one_after_another():
    seeds = [0, 1, 2, 3]
    alone = [fitted(seed=seed) for seed in seeds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: fitted(seed=seed), seeds))
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))


def test_a_fitted_network_is_in_evaluation_mode_on_the_cpu_and_has_learned():
    inputs = vectors(60)
    network = fitted(Logistic(), inputs, epochs=30)
    assert not any(module.training for module in network.modules())
    assert {p.device.type for p in network.parameters()} == {"cpu"}
    said = predict(network, inputs, torch.device("cpu"), THREE, Loss())
    predicted = torch.from_numpy(THREE.strata(said.label))
    assert (predicted == inputs.labels).float().mean() > 0.9


def test_only_the_given_rows_are_trained_on():
    inputs = vectors()
    rows = np.arange(0, 30, 2)
    other = Inputs(ids=inputs.ids, labels=inputs.labels.clone(), x=inputs.x.clone())
    other.x[1::2] = 1e6
    other.labels[1::2] = 0
    assert same(fitted(inputs=inputs, rows=rows), fitted(inputs=other, rows=rows))


# ---- steps and batches -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({}, 6),
        ({"kept": {1: {}}}, 3),
        ({"kept": {0: {}}}, 0),
        ({"kept": {0: {}, 1: {}}}, 3),
        ({"kept": {9: {}}}, 6),
        ({"steps": 5}, 5),
        ({"steps": 11}, 11),
        ({"steps": 5, "kept": {1: {}}}, 3),
        ({"steps": 2, "kept": {1: {}}}, 2),
    ],
)
def test_as_many_steps_are_taken_as_asked_for(options, taken):
    assert len(recorded(20, **options).sizes) == taken


def test_stopping_early_keeps_the_schedule_of_the_whole_training():
    early = fitted(Logistic(), epochs=4, kept={2: {}})
    assert not same(early, fitted(Logistic(), epochs=2))
    assert not same(early, fitted(Logistic(), epochs=4))


def test_each_kept_state_is_that_of_a_training_that_stopped_there():
    kept = {0: {}, 1: {}, 3: {}}
    last = fitted(Logistic(), epochs=4, kept=kept)
    for epoch, state in kept.items():
        alone = fitted(Logistic(), epochs=4, kept={epoch: {}}).state_dict()
        assert state.keys() == alone.keys()
        assert all(torch.equal(value, alone[name]) for name, value in state.items())
    assert all(torch.equal(value, kept[3][name]) for name, value in last.state_dict().items())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"checkpoint_epochs": [-1]}, "from 0 on"),
        ({"checkpoint_epochs": [2, 2]}, "different epochs"),
        ({"checkpoint_epochs": [9], "epochs": 8}, "9 is after the last epoch, 8"),
    ],
)
def test_epochs_that_cannot_be_kept_are_refused(options, words):
    with pytest.raises(ValidationError, match=words):
        Training(**options)
    assert Training(epochs=8, checkpoint_epochs=[5, 2]).kept_epochs == [2, 5]
    assert Training(epochs=8).kept_epochs == [8]


@pytest.mark.parametrize(
    ("n", "size", "sizes"), [(20, 8, [8, 8, 4]), (9, 4, [4, 3, 2]), (65, 64, [33, 32]), (4, 8, [4])]
)
def test_every_sample_takes_part_once_an_epoch_and_never_alone(n, size, sizes):
    network = recorded(n, epochs=3, batch_size=size)
    assert network.sizes == sizes * 3
    assert network.seen.tolist() == [3] * n


@pytest.mark.parametrize(("n", "size"), [(3, 2), (5, 2), (7, 2), (7, 3)])
def test_batchnorm_never_meets_a_sample_alone_however_small_the_batches(n, size):
    network = recorded(n, epochs=4, batch_size=size)
    assert min(network.sizes) >= 2
    assert network.seen.min() >= 1


def test_samples_are_shuffled_anew_each_epoch():
    inputs = vectors(16)
    order = np.random.default_rng(0).permutation(16)
    assert not same(fitted(inputs=inputs, epochs=1), fitted(inputs=inputs, rows=order, epochs=1))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_two_samples_and_one_epoch_are_enough(optimizer, epochs):
    network = fitted(inputs=vectors(2), optimizer=optimizer, epochs=epochs, batch_size=64)
    assert all(torch.isfinite(p).all() for p in network.parameters())


# ---- what the steps saw ------------------------------------------------------------------------------------------


def by_loop(said, labels, n, early, loss):
    """AUM, mean loss, EL2N and SEI of each sample, over lists of what the network said of it at every step."""
    figures = {name: [[] for _ in range(n)] for name in ("aum", "mean_loss", "el2n", "sei")}
    for step, (members, outputs) in enumerate(said):
        for i, z in zip(members, outputs, strict=True):
            y = int(labels[i])
            figures["aum"][i].append(float(z[y] - max(v for c, v in enumerate(z) if c != y)))
            figures["mean_loss"][i].append(float(loss.losses(z[None], labels[i : i + 1])))
            entropy = float(torch.special.entr(z.softmax(0)).sum()) / math.log(len(z))
            figures["sei"][i].append(entropy if int(z.argmax()) == y else -entropy)
            if step < early:
                figures["el2n"][i].append(float((z.softmax(0) - nn.functional.one_hot(labels[i], 3)).norm()))
    return {name: [np.mean(one) if one else np.nan for one in each] for name, each in figures.items()}


@pytest.mark.parametrize(
    ("n", "options"),
    [
        (20, {"epochs": 6}),
        (20, {"epochs": 1}),
        (20, {"epochs": 20, "loss": "squared_error", "label_smoothing": 0.1}),
        (20, {"epochs": 10, "kept": {2: {}}}),
        # The last two batches of a pass share, or are one: BatchNorm takes none of a single sample.
        (9, {"epochs": 3, "batch_size": 4}),
        (3, {"epochs": 4, "batch_size": 2}),
        (5, {"epochs": 1, "batch_size": 2}),
    ],
)
def test_dynamics_are_the_means_of_what_the_network_said_while_it_learned(n, options):
    told, inputs = {}, inputs_of(torch.eye(n), 3)
    payload = Payload(kind="array", columns=("x",), shape=(n,), dtype="float32")
    network = fitted(Recording(), inputs, payload=payload, dynamics=told, **options)[1]
    per_epoch = -(-n // options.get("batch_size", 8))
    early = max(per_epoch, round(len(network.said) / 5))
    loss = Loss(options.get("loss", "cross_entropy"), options.get("label_smoothing", 0.0))
    expected = by_loop(network.said, inputs.labels, n, early, loss)
    assert told.keys() == expected.keys()
    for name, values in expected.items():
        assert np.isfinite(values).all()
        np.testing.assert_allclose(told[name].numpy(), values, rtol=1e-4, atol=1e-5)


def test_dynamics_are_only_of_the_rows_that_were_trained_on_and_change_no_weight():
    told, rows = {}, np.arange(3, 20)
    assert same(fitted(rows=rows, dynamics=told), fitted(rows=rows))
    for values in told.values():
        assert torch.isfinite(values)[rows].all()
        assert torch.isnan(values).sum() == 30 - len(rows)


def test_a_wrong_label_is_learnt_late():
    inputs, told = vectors(90), {}
    inputs.labels[::10] = (inputs.labels[::10] + 1) % 3
    fitted(Logistic(), inputs, epochs=30, dynamics=told)
    wrong = torch.arange(90) % 10 == 0
    assert told["aum"][wrong].mean() < told["aum"][~wrong].mean() - 1
    assert told["mean_loss"][wrong].mean() > told["mean_loss"][~wrong].mean() + 0.5
    assert told["el2n"][wrong].mean() > told["el2n"][~wrong].mean() + 0.1
    assert told["sei"][wrong].mean() < told["sei"][~wrong].mean() - 0.1


# ---- options -----------------------------------------------------------------------------------------------------


def test_bf16_trains_to_about_the_same_weights():
    exact, rough = fitted(Logistic()), fitted(Logistic(), precision="bf16")
    assert not same(exact, rough)
    assert all(p.dtype == torch.float32 for p in rough.parameters())
    for a, b in zip(exact.parameters(), rough.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0.02)


def test_augmentation_changes_what_images_teach_and_repeats():
    def run(augment, pad=4):
        return fitted(Cnn(width=2), pictures(), payload=IMAGE, epochs=1, augment=augment, augment_pad=pad)

    assert same(run("crop_flip"), run("crop_flip"))
    assert not same(run("crop_flip"), run("none"))
    assert not same(run("crop_flip"), run("crop_flip", 2))


def test_augmentation_leaves_vectors_alone():
    assert same(fitted(augment="crop_flip"), fitted(augment="none"))


def test_the_learning_rate_falls_back_on_that_of_the_optimizer():
    assert Training().peak_lr == 3e-3
    assert Training(optimizer="sgd").peak_lr == 0.1
    assert Training(lr=0.5).peak_lr == 0.5


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_a_bad_option():
    with pytest.raises(BadConfig, match="got cuda"):
        fitted(device="cuda")


# ---- the vision recipe's own -------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_recipe_of_the_paper_is_the_plain_loop_with_one_fall_after_sixty_of_a_hundred_epochs(optimizer):
    inputs, options = vectors(20), {"optimizer": optimizer, "schedule": "step", "nesterov": False, "lr": 0.05}
    found = fitted(Mlp(hidden=[6]), inputs, epochs=10, decay="weights", weight_decay=0.1, **options)

    torch.manual_seed(0)
    twin = build(Mlp(hidden=[6]), VECTOR, 3)
    twin[0].fit(inputs.x, torch.arange(20))
    generator = torch.Generator().manual_seed(0)
    state: dict = {}
    for step in range(30):
        if step % 3 == 0:
            order = torch.randperm(20, generator=generator).split(8)
        batch = order[step % 3]
        lr = 0.05 if step < 18 else 0.005
        twin.zero_grad()
        nn.functional.cross_entropy(twin(inputs.x[batch]), inputs.labels[batch]).backward()
        for name, p in twin.named_parameters():
            g, decay = p.grad, 0.1 if p.dim() > 1 else 0.0
            with torch.no_grad():
                if optimizer == "sgd":
                    state[name] = 0.9 * state.get(name, 0) + g + decay * p
                    p -= lr * state[name]
                else:
                    m, v = state.get(name, (0, 0))
                    state[name] = m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
                    p *= 1 - lr * decay
                    p -= lr * m / (1 - 0.9 ** (step + 1)) / ((v / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
    for a, b in zip(found[1].parameters(), twin[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def stepped(optimizer, network):
    """The network's parameters after five steps."""
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    for _ in range(5):
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_steps_are_those_of_torchs_own_optimizer_to_the_bit(name, kind):
    ours, theirs = build(Mlp(hidden=[6]), VECTOR, 3), build(Mlp(hidden=[6]), VECTOR, 3)
    theirs.load_state_dict(ours.state_dict())
    optimizer = optimizer_of(list(ours.parameters()), Training(optimizer=name))
    (group,) = optimizer.param_groups
    given = {key: group[key] for key in ("lr", "weight_decay", "fused", "momentum", "nesterov") if key in group}
    assert torch.equal(stepped(optimizer, ours), stepped(kind(theirs.parameters(), **given), theirs))


STEP = """
import sys
import torch
from tasks.training.optimizer import optimizer_of
from tasks.training.recipe import Training

for name in ("adamw", "sgd"):
    network = torch.nn.Linear(4, 3)
    optimizer = optimizer_of(list(network.parameters()), Training(optimizer=name))
    optimizer.zero_grad()
    network(torch.ones(2, 4)).sum().backward()
    optimizer.step()
assert "torch._dynamo" not in sys.modules
"""


def test_a_step_does_not_import_torchs_compiler():
    """In a process of its own, where nobody has imported it before."""
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_biases_and_normalisations_are_left_out_of_the_decay_only_where_that_is_asked_for():
    network = build(Cnn(width=2), IMAGE, 3)
    optimizer = optimizer_of(list(network.parameters()), Training(decay="weights", weight_decay=0.1))
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert all(decays[id(p)] == (0.1 if p.dim() > 1 else 0.0) for p in network.parameters())
    (everything,) = optimizer_of(list(network.parameters()), Training(weight_decay=0.1)).param_groups
    assert everything["weight_decay"] == 0.1
    assert [id(p) for p in everything["params"]] == [id(p) for p in network.parameters()]


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 137])
@pytest.mark.parametrize("schedule", ["one_cycle", "step"])
def test_learning_rates_are_those_of_torchs_schedulers_to_the_bit(schedule, steps):
    training = Training(schedule=schedule, lr=0.03)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=training.peak_lr)
    if schedule == "one_cycle":
        torchs = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, training.peak_lr, total_steps=steps + 1, cycle_momentum=False
        )
    else:
        torchs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [max(1, round(0.6 * steps))], gamma=0.1)
    for step in range(steps):
        assert learning_rate(training, step, steps) == optimizer.param_groups[0]["lr"]
        optimizer.step()
        torchs.step()


def test_inputs_go_to_the_device_at_once_if_they_fit_and_else_stay(monkeypatch):
    x = torch.zeros(10, 4)
    assert resident(x, torch.device("meta")).device.type == "meta"
    assert resident(x, torch.device("cpu")) is x
    monkeypatch.setattr("tasks.training.optimizer.RESIDENT_BYTES", x.nbytes - 1)
    assert resident(x, torch.device("meta")) is x


compiles = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")


@compiles
def test_compiled_it_learns_the_same_and_its_states_bear_the_same_names():
    plain, fast = ({"kept": {1: {}}, "dynamics": {}} for _ in range(2))
    options = {"epochs": 2, "optimizer": "sgd"}
    expected = fitted(Mlp(hidden=[6]), **options, **plain)
    found = fitted(Mlp(hidden=[6]), **options, **fast, compile=True)
    for a, b in ((found.state_dict(), expected.state_dict()), (fast["kept"][1], plain["kept"][1])):
        assert list(a) == list(b)
        assert all(torch.allclose(a[name], b[name], rtol=1e-4, atol=1e-6) for name in a)
    assert all(torch.allclose(fast["dynamics"][name], plain["dynamics"][name], rtol=1e-4) for name in plain["dynamics"])


@compiles
def test_compiled_the_same_arguments_give_the_same_weights_and_networks_alike_share_a_compilation():
    from torch._dynamo.utils import counters

    first = fitted(compile=True, seed=1)
    graphs = counters["stats"]["unique_graphs"]
    assert same(fitted(compile=True, seed=1), first)
    assert not same(fitted(compile=True, seed=2), first)
    assert counters["stats"]["unique_graphs"] == graphs


class Breaking(nn.Linear):
    """A network that looks at its numbers: what it does next cannot be compiled before they are there."""

    def forward(self, x):
        return super().forward(x) * (2 if float(x.sum()) > 0 else 1)


class BreakingModel(Model, kind="breaking"):
    def build(self, payload, classes):
        return Breaking(4, classes)


def test_what_cannot_be_compiled_is_refused_and_not_quietly_run_as_it_is():
    with pytest.raises(BadConfig, match=r"training\.compile: expected a network that torch\.compile takes whole"):
        fitted(BreakingModel(), compile=True)


@compiles
def test_without_a_compiler_a_compiled_training_says_so(monkeypatch):
    import torch._inductor.config as inductor

    monkeypatch.setattr(inductor.cpp, "cxx", ("no-such-compiler",))
    torch.compiler.reset()
    with pytest.raises(BadConfig, match="a C\\+\\+ compiler"):
        fitted(Logistic(), compile=True)


# ---- standardisation ---------------------------------------------------------------------------------------------


def test_statistics_are_those_of_the_training_rows_alone():
    inputs = vectors()
    rows = np.arange(5, 25)
    standardize = fitted(inputs=inputs, rows=rows)[0]
    assert isinstance(standardize, Standardize)
    x = inputs.x[5:25].double().numpy()
    np.testing.assert_allclose(standardize.mean.numpy(), x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(standardize.std.numpy(), x.std(0), rtol=1e-6)


def test_images_are_standardised_by_channel():
    x = torch.randint(0, 256, (12, 3, 5, 4), generator=torch.Generator().manual_seed(0)).byte()
    layer = Standardize((3, 5, 4))
    layer.fit(x, torch.arange(12))
    out = layer(x).double()
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(out.std((0, 2, 3), correction=0), 1, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9, -7.3])
def test_a_constant_feature_becomes_zero(value):
    x = torch.randn(9000, 2)
    x[:, 1] = value
    layer = Standardize((2,))
    layer.fit(x, torch.arange(9000))
    out = layer(x)
    assert (out[:, 1] == 0).all()
    assert out[:, 0].std() == pytest.approx(1, abs=1e-3)


# ---- failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Logistic(), Mlp(hidden=[6])])
def test_a_training_that_diverges_is_a_bad_model(model):
    with pytest.raises(BadModel, match="diverged"):
        fitted(model, optimizer="sgd", lr=1e30, epochs=5)


class Wrong(nn.Module):
    def __init__(self, classes: int, way: str) -> None:
        super().__init__()
        self.linear, self.way = nn.Linear(4, classes + (way == "one class more")), way

    def forward(self, x):
        logits = self.linear(x)
        if self.way == "a tuple":
            return logits, x
        return logits[0] if self.way == "no batch" else logits


class WrongModel(Model, kind="wrong"):
    way: str

    def build(self, payload, classes):
        return Wrong(classes, self.way)


@pytest.mark.parametrize(
    ("way", "got"), [("one class more", r"\(2, 4\)"), ("a tuple", "tuple"), ("no batch", r"\(3,\)")]
)
def test_outputs_that_are_not_one_logit_a_class_are_a_bad_model(way, got):
    with pytest.raises(BadModel, match=f"2 × 3 logits.*got {got}"):
        fitted(WrongModel(way=way))


# ---- prediction --------------------------------------------------------------------------------------------------


def test_predictions_are_the_most_probable_class_of_each_row_beyond_one_batch():
    network = fitted()
    x = torch.randn(EVALUATION_BATCH + 7, 4)
    network.train()
    said = predict(network, inputs_of(x), torch.device("cpu"), THREE, Loss())
    with torch.no_grad():
        twin = network(x).softmax(1)
    assert THREE.strata(said.label).tolist() == twin.argmax(1).tolist()
    torch.testing.assert_close(said.p, twin.max(1).values)
