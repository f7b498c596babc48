"""Every model builds an n × k network with a head, the same for the same seed, that survives being stored."""

import io

import pytest
import torch

from tasks.core.errors import BadModel
from tasks.dataset.payload import Payload
from tasks.dataset.tokenizer import Tokens
from tasks.gradients.kinds import GRADIENTS
from tasks.training.models import MODELS
from tasks.training.models.resnet import ResNet18, ResNet34

VECTOR = Payload(kind="array", columns=("x",), shape=(6,), dtype="float32")
IMAGE = Payload(kind="array", columns=("x",), shape=(3, 8, 8), dtype="uint8")
WORDS = Tokens(tokenizer="words", digest="", vocabulary=50, pad=0)
PHOTO = Payload(kind="image", columns=("x",), shape=(3, 24, 30), dtype="uint8")
VECTORS = Payload(kind="features", columns=("x",), shape=(6,), dtype="float32", encoder="any")
TEXT = Payload(kind="tokens", columns=("t",), shape=(6,), dtype="int32", tokens=WORDS)
PAIR = Payload(kind="tokens", columns=("t", "u"), shape=(2, 6), dtype="int32", tokens=WORDS)
ANSWERED = PAIR.model_copy(update={"tokens": WORDS.model_copy(update={"end": 2})})

# kind → (options, the payloads it takes)
CASES = {
    "logistic": ({}, [VECTOR, IMAGE]),
    "mlp": ({"hidden": [7, 5], "dropout": 0.2}, [VECTOR, IMAGE]),
    "cnn": ({"width": 4}, [IMAGE]),
    "resnet18": ({}, [IMAGE]),
    "resnet34": ({}, [IMAGE]),
    "transformer": ({"width": 8, "heads": 2, "depth": 1}, [TEXT, PAIR]),
    "causal_lm": ({"width": 8, "heads": 2, "depth": 1, "tuning": "full"}, [ANSWERED]),
    "auto": ({}, [VECTOR, IMAGE, PHOTO]),
    "encoder": ({"encoder_factory": "nobody:calls_it"}, [VECTORS]),
    "custom": ({"factory": "conformance_nets:small", "arguments": {"width": 4}}, [VECTOR, IMAGE]),
}


def _taken(kind):
    """The payloads that a model takes which has no case above: by its defaults, those it does not refuse."""
    taken = []
    for payload in (TEXT, PAIR) if MODELS.components[kind].reads_tokens else (VECTOR, IMAGE):
        try:
            MODELS.components[kind]().build(payload, 3)
        except BadModel:
            continue
        taken.append(payload)
    assert taken, f"{kind} takes no payload"
    return taken


CASES |= {kind: ({}, _taken(kind)) for kind in MODELS.components if kind not in CASES}
NETS = """
from torch import nn

def small(shape, classes, width):
    size = 1
    for axis in shape:
        size *= axis
    return nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.Tanh(), nn.Linear(width, classes, bias=False))
"""
BUILDS = [
    pytest.param(kind, payload, id=f"{kind}-{len(payload.shape)}d{' text' if payload.tokens else ''}")
    for kind, case in CASES.items()
    for payload in case[1]
]


@pytest.fixture(autouse=True)
def _nets(tmp_path, monkeypatch):
    (tmp_path / "conformance_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(tmp_path))


def model_of(kind):
    return MODELS.components[kind](**CASES[kind][0])


def built(kind, payload, classes=3, seed=0):
    torch.manual_seed(seed)
    return model_of(kind).build(payload, classes).eval()


def inputs(payload, n):
    """Random ones, as the network behind the standardisation receives them."""
    if payload.tokens is None:
        return torch.randn(n, *payload.shape)
    x = torch.randint(1, WORDS.vocabulary, (n, *payload.shape))
    if len(payload.shape) == 2:
        x[:, 1] = x[:, 1] > 25
    return x


@pytest.mark.parametrize(("kind", "payload"), BUILDS)
def test_a_network_gives_one_finite_output_for_each_class_or_one_for_a_response(kind, payload):
    for classes in (2, 5) if payload is not ANSWERED else (1,):
        logits = built(kind, payload, classes)(inputs(payload, 4))
        assert logits.shape == (4, classes)
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize(("kind", "payload"), [case for case in BUILDS if case.values[1] is not ANSWERED])
def test_the_head_is_found(kind, payload):
    GRADIENTS.components["head"]().check(built(kind, payload), torch.zeros_like(inputs(payload, 2)))


@pytest.mark.parametrize(("kind", "payload"), BUILDS)
def test_the_same_seed_gives_the_same_weights_and_another_gives_others(kind, payload):
    first, again, other = (built(kind, payload, seed=seed).state_dict() for seed in (1, 1, 2))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(("kind", "payload"), BUILDS)
def test_a_network_survives_its_checkpoint(kind, payload):
    x = inputs(payload, 3)
    network = built(kind, payload, seed=1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()  # state that is no parameter
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other = built(kind, payload, seed=2)
    assert not torch.equal(other(x), network(x))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), network(x))


@pytest.mark.parametrize("kind", sorted(kind for kind, case in CASES.items() if VECTOR not in case[1]))
def test_models_of_images_and_of_text_refuse_vectors(kind):
    with pytest.raises(BadModel, match="inputs of shape 6"):
        model_of(kind).build(VECTOR, 3)


@pytest.mark.parametrize(("model", "millions"), [(ResNet18(), 11.17), (ResNet34(), 21.28)])
def test_the_resnets_have_the_published_size(model, millions):
    network = model.build(Payload(kind="array", columns=("x",), shape=(3, 32, 32), dtype="uint8"), 10)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == millions


def test_a_narrow_resnet_has_the_depth_and_the_head_of_its_width():
    wide, narrow = (ResNet18(width=width).build(IMAGE, 10) for width in (64, 8))
    kinds = [[type(module) for module in network.modules()] for network in (wide, narrow)]
    assert kinds[0] == kinds[1]
    assert narrow[-1].weight.shape == (10, 64)


def test_the_resnet_stem_keeps_the_resolution_and_four_stages_halve_it_three_times():
    sizes = []
    network = built("resnet18", IMAGE)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3):
            module.register_forward_hook(lambda _m, _i, output: sizes.append(tuple(output.shape[1:])))
    network(torch.zeros(1, 3, 32, 32))
    assert list(dict.fromkeys(sizes)) == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert len(sizes) == 17


def test_dropout_acts_only_in_training():
    network = built("mlp", VECTOR)
    x = torch.randn(50, 6)
    assert torch.equal(network(x), network(x))
    network.train()
    assert not torch.equal(network(x), network(x))
