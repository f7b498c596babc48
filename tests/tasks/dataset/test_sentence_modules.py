"""A folder of sentence-transformers gives the vectors that it describes; what is not known is refused in words."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tasks.core.errors import BadArtefact, BadModel
from tasks.dataset.encoders.frozen_texts import PretrainedTexts
from tasks.dataset.encoders.sentence_modules import modules_of, pooled
from tests.support.tiny_encoders import write_text_encoder

CPU = torch.device("cpu")


def naive(mode, tokens, mask):
    """One text after the other, as the docstring has it."""
    vectors = []
    for text, marks in zip(tokens.numpy(), mask.numpy(), strict=True):
        read = [token for token, mark in zip(text, marks, strict=True) if mark]
        places = range(1, len(read) + 1)
        vectors.append(
            {
                "cls": lambda read=read: read[0],
                "lasttoken": lambda read=read: read[-1],
                "max": lambda read=read: np.max(read, 0),
                "mean": lambda read=read: sum(read) / len(read),
                "mean_sqrt_len_tokens": lambda read=read: sum(read) / math.sqrt(len(read)),
                "weightedmean": lambda read=read, places=places: (
                    sum(i * x for i, x in zip(places, read, strict=True)) / sum(places)
                ),
            }[mode]()
        )
    return np.stack(vectors)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("mode", ["cls", "lasttoken", "max", "mean", "mean_sqrt_len_tokens", "weightedmean"])
def test_tokens_are_pooled_as_it_is_written_on_whichever_side_the_padding_stands(mode, side):
    torch.manual_seed(0)
    tokens, lengths = torch.randn(4, 6, 3), [6, 1, 3, 5]
    rows = [[1] * m + [0] * (6 - m) for m in lengths]
    mask = torch.tensor([row if side == "right" else row[::-1] for row in rows])
    np.testing.assert_allclose(pooled(mode, tokens, mask), naive(mode, tokens, mask), rtol=1e-5)


def write(folder, modules, **files):
    """A text encoder with these modules behind its transformer: (kind, configuration, weights or None)."""
    write_text_encoder(folder)
    listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for place, (kind, config, weights) in enumerate(modules, 1):
        path = folder / f"{place}_{kind}"
        path.mkdir()
        (path / "config.json").write_text(json.dumps(config))
        if weights:
            save_file(weights, path / "model.safetensors")
        listed.append({"idx": place, "name": str(place), "path": path.name, "type": f"sentence_transformers.x.{kind}"})
    (folder / "modules.json").write_text(json.dumps(listed))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def vectors(folder, texts=("a good film", "bad")):
    return PretrainedTexts(weights=str(folder)).embedder(CPU)(list(texts))


OLD, NEW = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, {"pooling_mode": "cls"}


@pytest.mark.parametrize("config", [OLD, NEW])
def test_the_first_token_is_taken_by_either_spelling_of_the_library(config, tmp_path):
    """The second was read as no pooling at all, so that the mean was taken in silence."""
    first = vectors(write(tmp_path / "cls", [("Pooling", config, None)]))
    expected = vectors(write_text_encoder(tmp_path / "expected", takes_first=True))
    torch.testing.assert_close(first, expected)
    assert not torch.allclose(first, vectors(write_text_encoder(tmp_path / "mean")))


def test_several_poolings_stand_one_behind_the_other(tmp_path):
    both = {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    made = vectors(write(tmp_path / "both", [("Pooling", both, None)]))
    single = [vectors(write(tmp_path / mode, [("Pooling", {"pooling_mode": mode}, None)])) for mode in ("max", "mean")]
    torch.testing.assert_close(made, torch.cat(single, 1))


def test_layers_behind_the_pooling_are_applied_in_their_order(tmp_path):
    torch.manual_seed(0)
    matrix, bias = torch.randn(5, 16), torch.randn(5)
    scale, shift = torch.randn(5), torch.randn(5)
    dense = {"in_features": 16, "out_features": 5, "activation_function": "torch.nn.modules.activation.Tanh"}
    modules = [
        ("Pooling", {"pooling_mode": "mean"}, None),
        ("Dropout", {"dropout": 0.5}, None),
        ("Dense", dense, {"linear.weight": matrix, "linear.bias": bias}),
        ("LayerNorm", {"dimension": 5}, {"norm.weight": scale, "norm.bias": shift}),
        ("Normalize", {}, None),
    ]
    made = vectors(write(tmp_path / "all", modules)).numpy()
    for vector, mean in zip(made, vectors(write_text_encoder(tmp_path / "mean")).numpy(), strict=True):
        x = np.tanh(matrix.numpy() @ mean + bias.numpy())
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * scale.numpy() + shift.numpy()
        np.testing.assert_allclose(vector, x / np.linalg.norm(x), rtol=1e-4, atol=1e-6)


def test_prompt_small_letters_and_length_are_the_folders(tmp_path):
    pooling = [("Pooling", {"pooling_mode": "mean"}, None)]
    plain = write(tmp_path / "plain", pooling)
    about = {"prompts": {"query": "is it ", "other": "bad "}, "default_prompt_name": "query"}
    prompted = write(tmp_path / "prompted", pooling, config_sentence_transformers=about)
    torch.testing.assert_close(vectors(prompted, ["a film"]), vectors(plain, ["is it a film"]))
    lower = write(tmp_path / "lower", pooling, sentence_roberta_config={"do_lower_case": True, "max_seq_length": 4})
    torch.testing.assert_close(vectors(lower, ["Good Film is bad"]), vectors(plain, ["good film"]))


@pytest.mark.parametrize(
    ("modules", "got"),
    [
        ([("Pooling", {"pooling_mode": "attention"}, None)], "a pooling by attention"),
        ([("Pooling", {"word_embedding_dimension": 16}, None)], "a pooling by nothing"),
        ([("Router", {}, None)], "a module Router"),
        ([("Dense", {"activation_function": "my_code.Swish"}, None)], "an activation Swish"),
        ([("Dense", {"use_residual": True}, None)], "a module Dense that is connected otherwise"),
        ([("Dense", {"activation_function": "torch.nn.Tanh"}, None)], "No such file"),
    ],
)
def test_what_is_not_known_is_refused_with_a_way_out(modules, got, tmp_path):
    with pytest.raises(BadModel, match=got) as error:
        vectors(write(tmp_path / "encoder", modules))
    assert "--reader.features" in str(error.value) or "SentenceTransformer.save" in str(error.value)


def test_a_module_does_not_lead_out_of_its_folder(tmp_path):
    folder = write(tmp_path / "encoder", [("Pooling", {"pooling_mode": "mean"}, None)])
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(BadArtefact, match="elsewhere"):
        modules_of(folder)


def test_other_modules_are_another_encoder(tmp_path):
    plain = write(tmp_path / "plain", [("Pooling", NEW, None)])
    dense = {"linear.weight": torch.eye(16)}
    dense_config = {"activation_function": "torch.nn.modules.linear.Identity"}
    digests = {PretrainedTexts(weights=str(plain)).fingerprint()}
    for factor in (1, 2):
        weights = {"linear.weight": dense["linear.weight"] * factor}
        folder = write(tmp_path / str(factor), [("Pooling", NEW, None), ("Dense", dense_config, weights)])
        digests.add(PretrainedTexts(weights=str(folder)).fingerprint())
    assert len(digests) == 3
