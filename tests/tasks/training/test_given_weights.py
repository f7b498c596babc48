"""Networks of one's own begin with the weights they are given, and it is known when they do."""

import logging
import sys

import pytest
import torch
from torch import nn

from tasks.core.errors import BadModel
from tasks.dataset.payload import Payload
from tasks.gradients.kinds import GRADIENTS
from tasks.training.fit import build
from tasks.training.given_weights import load_weights, logits_of
from tasks.training.models.custom import Custom
from tasks.training.modules import Logits

PICTURE = Payload(kind="image", columns=("image",), shape=(3, 8, 8), dtype="uint8")
NETS = """
import torch
from torch import nn


class Body(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(4, classes)

    def logits(self, x):
        return self.head(self.body(x).flatten(1))

    def forward(self, x):
        return self.logits(x)


class Pair(Body):
    def forward(self, x):
        return self.logits(x), x


class Named(Body):
    def forward(self, x):
        return {"logits": self.logits(x), "x": x}


class Output(Body):
    def forward(self, x):
        from transformers.modeling_outputs import ImageClassifierOutput

        return ImageClassifierOutput(logits=self.logits(x))


def plain(shape, classes):
    return Body(shape[0], classes)


def pair(shape, classes):
    return Pair(shape[0], classes)


def named(shape, classes):
    return Named(shape[0], classes)


def output(shape, classes):
    return Output(shape[0], classes)


def trained(shape, classes, file):
    network = Body(shape[0], classes)
    network.load_state_dict(torch.load(file, weights_only=True))
    return network


def computed(shape, classes):
    network = Body(shape[0], classes)
    network.table = nn.Parameter(torch.linspace(0, 1, 5), requires_grad=False)
    return network


def normed(shape, classes):
    network = Body(shape[0], classes)
    network.head = nn.utils.parametrizations.weight_norm(network.head)
    return network


class Wrapper(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.module = network

    def forward(self, x):
        return self.module(x)


def wrapped(shape, classes):
    return Wrapper(Body(shape[0], classes))


def softmax(shape, classes):
    return nn.Sequential(Body(shape[0], classes), nn.LogSoftmax(1))
"""


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    """A module of its own for each test, in the working directory."""
    (tmp_path / "given_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("given_nets", None)


def body(seed, classes=3):
    torch.manual_seed(seed)
    return Custom(factory="given_nets:plain").build(PICTURE, classes)


def state_file(folder, prefix="", suffix=".pt", **beside):
    state = {prefix + name: value for name, value in body(7).state_dict().items()}
    path = folder / f"weights{suffix}"
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save(beside | {"state_dict": state} if beside else state, path)
    return path


@pytest.mark.parametrize("name", ["pair", "named", "output"])
@pytest.mark.parametrize("kind", ["head", "layers", "functional"])
def test_logits_are_found_in_whatever_a_network_returns(name, kind):
    network = build(Custom(factory=f"given_nets:{name}"), PICTURE, 3)
    assert network(PICTURE.blank(2)).shape == (2, 3)
    GRADIENTS.components[kind]().check(network, PICTURE.blank(2))


def test_a_network_that_returns_its_logits_alone_is_taken_as_it_is():
    assert not isinstance(Custom(factory="given_nets:plain").build(PICTURE, 3), Logits)


@pytest.mark.parametrize("given", [torch.ones(2), (torch.ones(2), 3), [torch.ones(2)], {"logits": torch.ones(2)}])
def test_the_logits_are_the_tensor_the_first_or_what_is_called_so(given):
    assert torch.equal(logits_of(given), torch.ones(2))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_weights_are_read_whatever_wrapped_the_network(nets, suffix, prefix, caplog):
    caplog.set_level(logging.INFO)
    network = body(1)
    load_weights(network, state_file(nets, prefix, suffix))
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in body(7).state_dict().items())
    assert ("names without module. and _orig_mod." in caplog.text) == bool(prefix)


def test_a_state_beside_epochs_and_optimizers_is_found(nets):
    network = body(1)
    load_weights(network, state_file(nets, epoch=3))
    assert torch.equal(network.head.weight, body(7).head.weight)


@pytest.mark.parametrize("prefix", ["net.", "module.net."])
def test_a_network_that_a_larger_module_kept_as_an_attribute_is_found_and_the_rest_told(nets, prefix, caplog):
    """As Lightning's checkpoints have it."""
    caplog.set_level(logging.INFO)
    state = {prefix + name: value for name, value in body(7).state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state | {"criterion.weight": torch.ones(3)}}, nets / "last.ckpt")
    network = body(1)
    load_weights(network, nets / "last.ckpt")
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in body(7).state_dict().items())
    assert "the names below net. are taken; left out: criterion.weight" in caplog.text


def test_of_two_networks_in_one_checkpoint_neither_is_guessed(nets):
    state = {
        f"{which}.{name}": value for which in ("student", "teacher") for name, value in body(7).state_dict().items()
    }
    torch.save(state, nets / "two.pt")
    with pytest.raises(BadModel, match=r"none of body.0.bias"):
        load_weights(body(1), nets / "two.pt")


def test_a_pickled_network_is_not_read(nets):
    torch.save(nn.Linear(2, 2), nets / "whole.pt")
    with pytest.raises(BadModel, match="a pickled network is code, and is not read"):
        load_weights(body(1), nets / "whole.pt")


@pytest.mark.parametrize("content", [3, {"epoch": 3}, [torch.ones(1)]])
def test_a_file_without_a_state_is_told(nets, content):
    torch.save(content, nets / "odd.pt")
    with pytest.raises(BadModel, match="expected a state dict: names and tensors"):
        load_weights(body(1), nets / "odd.pt")


def test_weights_of_another_network_are_told(nets):
    state = body(7, classes=5).state_dict() | {"extra": torch.ones(1)}
    del state["body.0.bias"]
    torch.save(state, nets / "other.pt")
    got = r"none of body.0.bias; an unknown extra; another shape of head.bias, head.weight"
    with pytest.raises(BadModel, match=got):
        load_weights(body(1), nets / "other.pt")


def test_a_missing_checkpoint_is_told_by_its_option():
    with pytest.raises(BadModel, match=r"--model.checkpoint: expected a file of weights, got nowhere.pt"):
        Custom(factory="given_nets:plain", checkpoint="nowhere.pt").build(PICTURE, 3)


def test_with_a_checkpoint_the_head_is_new_and_the_body_is_given(nets):
    model = Custom(factory="given_nets:plain", checkpoint=state_file(nets))
    first, second = (_built(model, seed) for seed in (1, 2))
    assert torch.equal(first.body[0].weight, body(7).body[0].weight)
    assert not torch.equal(first.head.weight, second.head.weight)
    kept = _built(model.model_copy(update={"head": "kept"}), 1)
    assert torch.equal(kept.head.weight, body(7).head.weight)


def _built(model, seed):
    torch.manual_seed(seed)
    return model.build(PICTURE, 3)


def test_a_head_that_is_no_linear_cannot_be_new():
    with pytest.raises(BadModel, match=r"Set --model\.head kept"):
        Custom(factory="given_nets:softmax", head="new").build(PICTURE, 3)


def test_it_is_known_when_networks_begin_with_trained_weights(nets):
    assert not Custom(factory="given_nets:plain").begins_trained(PICTURE, 3)
    file = state_file(nets)
    assert Custom(factory="given_nets:plain", checkpoint=file).begins_trained(PICTURE, 3)
    assert Custom(factory="given_nets:trained", arguments={"file": str(file)}).begins_trained(PICTURE, 3)


def test_a_table_that_is_computed_is_no_trained_weight():
    assert not Custom(factory="given_nets:computed").begins_trained(PICTURE, 3)


def test_a_head_whose_weight_is_computed_from_others_cannot_be_new():
    with pytest.raises(BadModel, match=r"Set --model\.head kept"):
        Custom(factory="given_nets:normed", head="new").build(PICTURE, 3)


def test_a_name_that_belongs_to_the_network_is_no_prefix(nets):
    torch.manual_seed(7)
    network = Custom(factory="given_nets:wrapped").build(PICTURE, 3)
    torch.save(network.state_dict(), nets / "wrapped.pt")
    other = Custom(factory="given_nets:wrapped", checkpoint=nets / "wrapped.pt", head="kept").build(PICTURE, 3)
    assert torch.equal(other.module.head.weight, network.module.head.weight)


def test_another_checkpoint_is_another_model(nets):
    model = Custom(factory="given_nets:plain", checkpoint=state_file(nets))
    before = model.fingerprint()
    torch.save(body(8).state_dict(), nets / "weights.pt")
    assert model.fingerprint() != before


@pytest.mark.parametrize(
    ("normalisation", "expected"),
    [("none", lambda x: x), ("imagenet", lambda x: x / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))],
)
def test_inputs_are_scaled_as_the_network_was_trained(normalisation, expected):
    network = build(Custom(factory="given_nets:plain", normalisation=normalisation), PICTURE, 3)
    x = torch.randint(0, 256, (4, *PICTURE.shape), dtype=torch.uint8)
    std = 1.0 if normalisation == "none" else torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    torch.testing.assert_close(network[0](x), expected(x.float()) / std)
