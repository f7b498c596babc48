"""Whatever others trained makes one vector of a sample, the same alone and in a batch, and is known by its weights."""

import importlib.util
import io
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tasks.core.errors import BadConfig, BadModel
from tasks.dataset.encoders.frozen_pictures import STATISTICS, OwnPictures, PretrainedPictures
from tasks.dataset.encoders.frozen_texts import PretrainedTexts
from tasks.dataset.encoders.pretrained_network import load_pretrained
from tasks.dataset.payload import Payload
from tests.support.tiny_encoders import OWN, PICTURE, TEXT, colours, write_text_encoder, write_vision_encoder

CPU = torch.device("cpu")
PIXELS = Payload(kind="array", columns=("x",), shape=(3, 20, 24), dtype="uint8")
WIDTHS = {"vit": 16, "vit_classifier": 16, "convnext": 16, "clip": 12}


@pytest.fixture(scope="module", params=sorted(WIDTHS))
def vision(request, tmp_path_factory):
    folder = write_vision_encoder(tmp_path_factory.mktemp(request.param), request.param)
    return PretrainedPictures(weights=str(folder)), WIDTHS[request.param]


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_encoders.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


def cells_of(encoder, n=5):
    batch = pa.RecordBatch.from_pydict({"image": pa.array(colours(n), pa.binary())})
    return encoder.cells(batch, PICTURE)


def test_a_picture_has_one_vector_alone_and_in_a_batch(vision):
    encoder, width = vision
    embed, cells = encoder.embedder(CPU), cells_of(encoder)
    together = embed(cells)
    assert together.shape == (5, width)
    assert together.dtype == torch.float32
    alone = torch.cat([embed([cell]) for cell in cells])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    assert float((together[0] - together[1]).norm()) > 1e-3


def test_pixels_of_a_table_are_pictures_too(vision):
    encoder, _ = vision
    pixels = np.asarray(Image.open(io.BytesIO(colours(1)[0]))).transpose(2, 0, 1)
    values = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), pixels.size)
    cells = encoder.cells(pa.RecordBatch.from_pydict({"x": values}), PIXELS)
    embed = encoder.embedder(CPU)
    assert torch.equal(embed(cells), embed(cells_of(encoder, 1)))


def test_where_the_pooling_layer_has_no_weights_the_tokens_are_averaged(tmp_path):
    folder = str(write_vision_encoder(tmp_path, "vit_classifier"))
    encoder = PretrainedPictures(weights=folder)
    network, missing = load_pretrained(folder)
    assert missing
    assert all("pooler" in name for name in missing)
    cells = cells_of(encoder, 2)
    from tasks.dataset.encoders.frozen_pictures import processor_of

    pixels = processor_of(folder, None)(images=cells, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = network.eval()(pixel_values=pixels).last_hidden_state.mean(1)
    torch.testing.assert_close(encoder.embedder(CPU)(cells), expected)


def test_the_size_of_the_pictures_can_be_chosen(tmp_path):
    encoder = PretrainedPictures(weights=str(write_vision_encoder(tmp_path, "convnext")), size=64)
    small = encoder.model_copy(update={"size": 32})
    cells = cells_of(encoder, 1)
    assert not torch.equal(encoder.embedder(CPU)(cells), small.embedder(CPU)(cells))
    assert encoder.digest != PretrainedPictures(weights=encoder.weights, size=32).digest


def test_an_encoder_is_known_by_its_weights_and_not_by_its_place(tmp_path):
    first = PretrainedPictures(weights=str(write_vision_encoder(tmp_path / "a", "convnext")))
    assert (
        first.fingerprint()
        == PretrainedPictures(weights=str(write_vision_encoder(tmp_path / "b", "convnext"))).fingerprint()
    )
    other = PretrainedPictures(weights=str(write_vision_encoder(tmp_path / "c", "vit")))
    assert other.fingerprint() != first.fingerprint()


def test_a_folder_that_lacks_weights_is_refused(tmp_path):
    folder = write_vision_encoder(tmp_path, "convnext")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"depths": [1, 1, 1, 2]}))
    with pytest.raises(BadModel, match="expected a file that holds every parameter, got one without encoder"):
        PretrainedPictures(weights=str(folder)).embedder(CPU)


@pytest.mark.parametrize(("weights", "got"), [("nowhere", "no such folder"), ("nobody/nothing", "of the hub: ")])
def test_weights_that_are_nowhere_are_told(weights, got, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadConfig, match=got):
        PretrainedPictures(weights=weights).embedder(CPU)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("normalisation", sorted(STATISTICS))
def test_a_network_of_ones_own_sees_the_middle_square_scaled_as_told(normalisation):
    encoder = OwnPictures(factory="own_encoders:mean", size=16, normalisation=normalisation)
    cells = cells_of(encoder, 3)
    mean, std = (torch.tensor(values) for values in STATISTICS[normalisation])
    pixels = []
    for cell in cells:
        resized = cell.resize((19, 16), Image.Resampling.BICUBIC).crop((1, 0, 17, 16))
        pixels.append(torch.from_numpy(np.asarray(resized) / 255.0).float().mean((0, 1)))
    expected = ((torch.stack(pixels) - mean) / std) @ torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, -1], [0, 0, 1, 0]])
    torch.testing.assert_close(encoder.embedder(CPU)(cells), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.usefixtures("own")
def test_weights_drawn_at_random_are_no_encoder():
    with pytest.raises(BadModel, match="other weights at each call: they are drawn at random"):
        OwnPictures(factory="own_encoders:at_random", size=16).fingerprint()


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "got"), [("a_pair", "got tuple"), ("nothing", "AttributeError"), ("torch", "'module' object")]
)
def test_what_is_no_network_with_one_output_is_told(name, got):
    encoder = OwnPictures(factory=f"own_encoders:{name}", size=16)
    with pytest.raises(BadModel, match=got):
        encoder.embedder(CPU)(cells_of(encoder, 1))


def texts_of(encoder, texts, payload=TEXT):
    columns = [pa.array(column, pa.string()) for column in texts]
    return encoder.cells(pa.RecordBatch.from_arrays(columns, names=list(payload.columns)), payload)


def test_a_text_is_the_mean_of_its_tokens_whatever_stands_beside_it(tmp_path):
    encoder = PretrainedTexts(weights=str(write_text_encoder(tmp_path)))
    embed = encoder.embedder(CPU)
    cells = texts_of(encoder, [["a good film", "bad", "it is a bad film"]])
    together = embed(cells)
    assert together.shape == (3, 16)
    torch.testing.assert_close(torch.cat([embed([cell]) for cell in cells]), together, rtol=1e-4, atol=1e-5)


def test_where_the_folder_says_so_a_text_is_its_first_token(tmp_path):
    mean = PretrainedTexts(weights=str(write_text_encoder(tmp_path / "mean")))
    first = PretrainedTexts(weights=str(write_text_encoder(tmp_path / "first", takes_first=True)))
    cells = texts_of(mean, [["a good film"]])
    assert not torch.equal(mean.embedder(CPU)(cells), first.embedder(CPU)(cells))
    assert mean.fingerprint() != first.fingerprint()


def test_pairs_are_read_as_pairs(tmp_path):
    encoder = PretrainedTexts(weights=str(write_text_encoder(tmp_path)))
    pair = TEXT.model_copy(update={"columns": ("text", "other"), "shape": (2, 8)})
    cells = texts_of(encoder, [["good film", "bad"], ["it is", "a film"]], pair)
    assert cells == [("good film", "it is"), ("bad", "a film")]
    assert encoder.embedder(CPU)(cells).shape == (2, 16)


def test_pictures_and_texts_are_not_taken_for_each_other(tmp_path):
    with pytest.raises(BadModel, match="expected texts, got inputs of kind image"):
        PretrainedTexts(weights=str(tmp_path)).check(PICTURE)
    with pytest.raises(BadModel, match="expected pictures, got inputs of kind tokens"):
        PretrainedPictures(weights=str(tmp_path)).check(TEXT)


def test_an_empty_cell_is_an_empty_text(tmp_path):
    encoder = PretrainedTexts(weights=str(write_text_encoder(tmp_path)))
    joined = TEXT.model_copy(
        update={"columns": ("text", "other"), "tokens": TEXT.tokens.model_copy(update={"joined": 2})}
    )
    assert texts_of(encoder, [["a", None], [None, None]], joined) == ["a", ""]
    pair = TEXT.model_copy(update={"columns": ("text", "other"), "shape": (2, 8)})
    assert texts_of(encoder, [["a", None], [None, "b"]], pair) == [("a", ""), ("", "b")]
    assert encoder.embedder(CPU)(texts_of(encoder, [[None, "a"]])).shape == (2, 16)


def test_inputs_that_are_read_otherwise_have_vectors_of_their_own(tmp_path):
    texts = PretrainedTexts(weights=str(write_text_encoder(tmp_path / "text")))
    pair = TEXT.model_copy(update={"columns": ("text", "other"), "shape": (2, 8)})
    joined = pair.model_copy(update={"tokens": TEXT.tokens.model_copy(update={"joined": 2}), "shape": (8,)})
    assert len({texts.key(payload) for payload in (TEXT, pair, joined)}) == 3
    pictures = PretrainedPictures(weights=str(write_vision_encoder(tmp_path / "vit", "vit")))
    other = PIXELS.model_copy(update={"shape": (3, 24, 20)})
    assert len({pictures.key(payload) for payload in (PICTURE, PIXELS, other)}) == 3
    assert pictures.key(PICTURE) == pictures.key(PICTURE.model_copy(update={"shape": (3, 64, 64)}))


def test_a_vit_takes_larger_pictures_than_it_was_trained_with(tmp_path):
    encoder = PretrainedPictures(weights=str(write_vision_encoder(tmp_path, "vit")), size=64)
    assert encoder.embedder(CPU)(cells_of(encoder, 2)).shape == (2, 16)


def test_a_processor_that_leaves_pictures_of_several_sizes_is_refused_at_once(tmp_path):
    folder = write_vision_encoder(tmp_path, "convnext")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_resize": False}))
    with pytest.raises(BadModel, match="a processor that brings all pictures to one size"):
        PretrainedPictures(weights=str(folder)).embedder(CPU)


def test_large_pictures_are_held_no_larger_than_the_encoder_needs():
    sink = io.BytesIO()
    Image.new("RGB", (3000, 2000)).save(sink, "PNG")
    batch = pa.RecordBatch.from_pydict({"image": pa.array([sink.getvalue()], pa.binary())})
    (cell,) = OwnPictures(factory="nobody:calls", size=64).cells(batch, PICTURE)
    assert cell.size == (192, 128)


def test_a_library_that_the_network_is_of_is_to_be_installed(tmp_path):
    """To write the folder again would change nothing."""
    if importlib.util.find_spec("timm"):
        pytest.skip("timm is installed")
    about = {"architecture": "resnet18", "model_type": "timm_wrapper", "num_classes": 0, "pretrained_cfg": {}}
    (tmp_path / "config.json").write_text(json.dumps(about))
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(BadModel, match=r"requires the timm library.*Install the library that it names"):
        PretrainedPictures(weights=str(tmp_path)).embedder(CPU)
