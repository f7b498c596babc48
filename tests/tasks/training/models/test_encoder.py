"""A pretrained encoder is frozen under a head, or trained with it; whoever names no network gets one that suits."""

import json

import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from tasks.core.errors import BadModel
from tasks.dataset.encoders.frozen_pictures import OwnPictures, PretrainedPictures, processor_of
from tasks.dataset.encoders.frozen_texts import PretrainedTexts
from tasks.dataset.payload import Payload
from tasks.gradients.kinds import GRADIENTS
from tasks.training.fit import build
from tasks.training.models import ModelChoice
from tasks.training.models.auto import LEAST_SIDE, Auto
from tasks.training.models.encoder import Encoder
from tasks.training.modules import SmallResidual
from tests.support.tiny_encoders import PICTURE, TEXT, write_vision_encoder

GREY = PICTURE.model_copy(update={"shape": (1, 20, 24)})
VECTORS = Payload(kind="features", columns=("image",), shape=(6,), dtype="float32", encoder="any")


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return str(write_vision_encoder(tmp_path_factory.mktemp("vit"), "vit"))


def test_the_samples_say_which_kind_of_encoder_is_meant():
    assert isinstance(Encoder(weights="x").frozen_encoder(PICTURE), PretrainedPictures)
    assert isinstance(Encoder(weights="x").frozen_encoder(TEXT), PretrainedTexts)
    assert isinstance(Encoder(encoder_factory="a:b").frozen_encoder(PICTURE), OwnPictures)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected one of weights"),
        ({"weights": "a", "encoder_factory": "b:c"}, "expected one of weights"),
        ({"encoder_factory": "b"}, "expected package.module:function"),
        ({"encoder_factory": "b:c", "tuning": "full"}, "a network of your own is --model.kind custom"),
    ],
)
def test_one_encoder_is_named(options, message):
    with pytest.raises(ValidationError, match=message):
        ModelChoice.model_validate({"kind": "encoder", **options})


def test_on_vectors_the_network_is_a_head():
    network = Encoder(weights="x").build(VECTORS, 5)
    assert network.linear.weight.shape == (5, 6)
    x = torch.randn(4, 6)
    expected = 3 / 6**0.5 * x @ network.linear.weight.T + network.linear.bias
    torch.testing.assert_close(network.eval()(x), expected)
    assert not torch.equal(network.train()(x), network(x))


@pytest.mark.parametrize("payload", [PICTURE, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_tuned_encoder_gives_logits_and_gradients(vit, tuning, payload):
    network = build(Encoder(weights=vit, tuning=tuning), payload, 5)
    x = torch.randint(0, 256, (3, *payload.shape), dtype=torch.uint8)
    assert network(x).shape == (3, 5)
    GRADIENTS.components["head"]().check(network, payload.blank(2))
    network(x).sum().backward()
    trained = [name for name, value in network.named_parameters() if value.grad is not None]
    assert any("lora" in name for name in trained) == (tuning == "lora")
    assert any(name.endswith("head.weight") for name in trained)


def test_what_is_given_again_is_not_kept_with_every_fold(vit):
    torch.manual_seed(1)
    network = build(Encoder(weights=vit, tuning="lora"), PICTURE, 5).eval()
    state = network.state_dict()
    assert all("lora" in name or "head" in name for name in state)
    other = build(Encoder(weights=vit, tuning="lora"), PICTURE, 5).eval()
    other.load_state_dict(state)
    x = torch.randint(0, 256, (3, *PICTURE.shape), dtype=torch.uint8)
    assert torch.equal(other(x), network(x))


@pytest.mark.parametrize(
    "options", [{}, {"do_normalize": False}, {"do_rescale": False}, {"image_mean": [0.1, 0.2, 0.3]}]
)
def test_a_tuned_encoder_sees_what_the_processor_hands_on(tmp_path, options):
    folder = write_vision_encoder(tmp_path, "vit")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | options))
    x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    network = Encoder(weights=str(folder), tuning="full").build(PICTURE.model_copy(update={"shape": (3, 32, 32)}), 3)
    seen = []
    network.encoder.register_forward_pre_hook(lambda *given: seen.append(given[2]["pixel_values"]), with_kwargs=True)
    network(x)
    pictures = [Image.fromarray(pixels.permute(1, 2, 0).numpy()) for pixels in x]
    expected = processor_of(str(folder), None)(images=pictures, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-4)


def test_lora_names_the_layers_there_are(vit):
    with pytest.raises(BadModel, match="lora-targets"):
        Encoder(weights=vit, tuning="lora", lora_targets=["nothing"]).build(PICTURE, 3)


def test_a_text_encoder_is_not_fine_tuned_here():
    with pytest.raises(BadModel, match=r"--model\.kind transformer"):
        Encoder(weights="x", tuning="full").build(TEXT, 3)


@pytest.mark.parametrize(("side", "is_residual"), [(LEAST_SIDE - 1, False), (LEAST_SIDE, True), (256, True)])
def test_pictures_of_some_size_are_looked_at_by_convolutions(side, is_residual):
    payload = PICTURE.model_copy(update={"shape": (3, side, side + 9)})
    network = Auto().build(payload, 4)
    assert isinstance(network, SmallResidual) == is_residual
    assert Auto().name_for(payload) == ("small residual (auto)" if is_residual else "mlp (auto)")
    assert network(payload.blank(2)).shape == (2, 4)


def test_the_small_network_looks_at_32_to_63_pixels_whatever_the_picture():
    for side, factor in ((24, 1), (63, 1), (64, 2), (224, 7)):
        scale = SmallResidual((3, side, 2 * side), 4).scale
        assert getattr(scale, "kernel_size", 1) == factor
