"""Frozen encoders of texts: folders that sentence-transformers or transformers wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tasks.dataset.encoders.frozen import Embed, FrozenEncoder
from tasks.dataset.encoders.pretrained_network import (
    OFFLINE,
    digest_of_weights,
    folder_of,
    library_errors,
    load_pretrained,
    positions_of,
    transformers_library,
)
from tasks.dataset.encoders.sentence_modules import modules_of
from tasks.dataset.payload import Payload

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    import torch

# Tokens of a text that are read at most, where the weights' own limit is not lower.
_LENGTH = 512


class PretrainedTexts(FrozenEncoder, kind="pretrained_texts"):
    """A text's vector is the mean of its tokens', or what the folder's modules make of them.

    Pooling, layers, prompt and length are those of sentence-transformers (tasks/dataset/encoders/sentence_modules.py).
    """

    reads: ClassVar[Literal["pictures", "texts"]] = "texts"
    weights: str

    def fingerprint(self) -> str:
        """The weights, their configuration and the tokenizer."""
        return digest_of_weights(self.weights)

    def cells(self, batch: pa.RecordBatch, payload: Payload) -> list[Any]:
        """Texts, or pairs of them; of several columns that are read as one the joined text."""
        columns = [batch.column(name).to_pylist() for name in payload.own]
        joined = payload.tokens.joined if payload.tokens else 0
        if len(columns) == 1:
            return [text or "" for text in columns[0]]
        if joined:
            return ["\n\n".join(text for text in texts if text) for texts in zip(*columns, strict=True)]
        return [tuple(text or "" for text in texts) for texts in zip(*columns, strict=True)]

    def embedder(self, device: torch.device) -> Embed:
        """Tokenizer, network and pooling."""
        import torch

        network, _ = load_pretrained(self.weights)
        network = network.to(device).eval()
        folder = folder_of(self.weights)
        tokenizer, modules = _tokenizer(folder), modules_of(folder)
        layers = modules.loaded(device)
        limits = (tokenizer.model_max_length, positions_of(network.config), modules.length)
        length = min(_LENGTH, *(limit for limit in limits if limit))

        def embed(cells: list[Any]) -> torch.Tensor:
            pairs = list(zip(*cells, strict=True)) if isinstance(cells[0], tuple) else [cells]
            tokens = tokenizer(
                *([modules.prepared(text) for text in texts] for texts in pairs),
                padding=True,
                truncation=True,
                max_length=length,
                return_tensors="pt",
            ).to(device)
            with torch.inference_mode():
                hidden = network(**tokens).last_hidden_state
                return modules.vectors(hidden, tokens["attention_mask"], layers).float().cpu()

        return embed


def _tokenizer(folder: Path) -> Any:
    where = f"model encoder, weights {folder}"
    loader = transformers_library(where).AutoTokenizer
    with library_errors(where, "a tokenizer beside the weights", "Write it with tokenizer.save_pretrained(folder)."):
        return loader.from_pretrained(str(folder), **OFFLINE)
