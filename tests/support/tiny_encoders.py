"""Encoders of pictures and texts with a few thousand random weights, as the library transformers writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from tasks.dataset.payload import Payload
from tasks.dataset.tokenizer import Tokens

PICTURE = Payload(kind="image", columns=("image",), shape=(3, 20, 24), dtype="uint8")
_WORDS = Tokens(tokenizer="words", digest="", vocabulary=50, pad=0)
TEXT = Payload(kind="tokens", columns=("text",), shape=(8,), dtype="int32", tokens=_WORDS)


def write_vision_encoder(folder: Path, kind: str) -> Path:
    """A folder with config.json, safetensors and a processor; kind vit, vit_classifier, convnext or clip."""
    import transformers

    torch.manual_seed(0)
    vit = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    square = {"height": 32, "width": 32}
    if kind == "convnext":
        config = transformers.ConvNextConfig(hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1])
        network, processor = (
            transformers.ConvNextModel(config),
            transformers.ConvNextImageProcessor(size={"shortest_edge": 32}),
        )
    elif kind == "clip":
        config = transformers.CLIPConfig(
            vision_config=vit | {"image_size": 32, "patch_size": 8},
            text_config=vit | {"vocab_size": 40},
            projection_dim=12,
        )
        network = transformers.CLIPModel(config)
        processor = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=square)
    else:
        config = transformers.ViTConfig(**vit, image_size=32, patch_size=8)
        maker = transformers.ViTModel if kind == "vit" else transformers.ViTForImageClassification
        network, processor = maker(config), transformers.ViTImageProcessor(size=square)
    network.save_pretrained(folder, safe_serialization=True)
    processor.save_pretrained(folder)
    return folder


def write_text_encoder(folder: Path, *, takes_first: bool = False) -> Path:
    """A BERT of one layer with a tokenizer of words, and a pooling as sentence-transformers keeps it."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    torch.manual_seed(0)
    unknown = "[UNK]"
    words = ["[PAD]", unknown, "[CLS]", "[SEP]", "good", "bad", "film", "a", "is", "it"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": unknown, "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(
        folder
    )
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertModel(config).save_pretrained(folder, safe_serialization=True)
    if takes_first:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    return folder


OWN = """
import torch
from torch import nn


class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, -1], [0, 0, 1, 0]]))

    def forward(self, x):
        return x.mean((2, 3)) @ self.weight


def mean():
    return Mean()


def at_random():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))


def a_pair():
    class Pair(Mean):
        def forward(self, x):
            return super().forward(x), x

    return Pair()
"""


def colours(n: int, size: tuple[int, int] = (20, 24)) -> list[bytes]:
    """n different pictures as PNG bytes: red ones, then green ones, …, with some noise."""
    import io

    from PIL import Image

    draw = np.random.default_rng(0)
    pictures = []
    for index in range(n):
        pixels = draw.integers(0, 60, (*size, 3), dtype=np.uint8)
        pixels[:, :, index % 3] += 150
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "PNG")
        pictures.append(sink.getvalue())
    return pictures
