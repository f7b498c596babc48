"""What language models share: weights from this machine or drawn at random, and what is trained of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tasks.core.errors import BadModel
from tasks.dataset.encoders.pretrained_network import (
    CONFIG,
    OFFLINE,
    library_errors,
    positions_of,
    read_network,
    transformers_library,
)
from tasks.dataset.payload import Payload
from tasks.dataset.pretrained_files import digest_of, locate
from tasks.dataset.tokenizer import Tokens
from tasks.training.models import Model

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

_WEIGHTS = "*.safetensors"


class Language(Model):
    """Base of the networks of the library transformers.

    Weights are read from this machine, as safetensors; neither pickles nor code that comes with a model are.
    """

    reads_tokens: ClassVar[bool] = True
    loader: ClassVar[str] = "AutoModel"
    """Class of the library that reads them."""
    weights: str | None = Field(
        default=None,
        description="Folder written by save_pretrained, or an installed package that carries one; default: random "
        "weights of the sizes below.",
    )
    width: int = Field(default=64, ge=4, description="Values a token, of random weights.")
    depth: int = Field(default=2, ge=1, description="Layers, of random weights.")
    heads: int = Field(default=4, ge=1, description="Attention heads, of random weights; they divide the width.")
    tuning: Literal["full", "lora", "frozen"] = Field(
        default="full",
        description="full: everything is trained. lora: low-rank changes beside the chosen layers, and the head. "
        "frozen: the head alone.",
    )
    lora_rank: int = Field(default=8, ge=1, description="Rank of LoRA's changes.")
    lora_alpha: float | None = Field(default=None, gt=0, description="Their scale is alpha / rank; default twice it.")
    lora_targets: list[str] = Field(
        default=["query", "value"], min_length=1, description="Layers they stand beside, by the end of their names."
    )

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads: expected a divisor of the width {self.width}, got {self.heads}")
        return self

    def fingerprint(self) -> str:
        """The weights and their configuration."""
        return self.weights_digest()

    def weights_digest(self) -> str:
        """Of the files."""
        return "" if self.weights is None else digest_of(locate(self.weights, CONFIG), CONFIG, _WEIGHTS)

    def _tokens(self, payload: Payload) -> Tokens:
        """How the inputs' text became ids.

        Raises:
            BadModel: they are no text.
        """
        if payload.tokens is None:
            raise BadModel(
                where=f"model {self.kind}",
                expected="text (token ids)",
                got=f"inputs of shape {' × '.join(map(str, payload.shape))}",
                do="Name a column of text with the reader's option text, or choose another model.",
            )
        return payload.tokens

    def _network(self, payload: Payload) -> tuple[Any, frozenset[str]]:
        """(the encoder, ready to be trained; names of its parameters that need not be kept, for they are given)."""
        tokens = self._tokens(payload)
        encoder: Any = (
            self._random(payload, tokens)
            if self.weights is None
            else self._load_pretrained(payload, tokens, self.weights)
        )
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None  # what it makes would be used by nothing
        if self.tuning == "lora":
            from tasks.training.low_rank import add_low_rank

            add_low_rank(encoder, self.lora_rank, self.lora_alpha, self.lora_targets, f"model {self.kind}")
        elif self.tuning == "frozen":
            encoder.requires_grad_(False)
        # A tied weight has two names, and a state holds it under both.
        parameters = encoder.named_parameters(remove_duplicate=False)
        frozen_names = {name for name, parameter in parameters if not parameter.requires_grad}
        return encoder, frozenset(frozen_names if self.weights else ())

    def _random(self, payload: Payload, tokens: Tokens) -> nn.Module:
        """The encoder with weights drawn at random, of the sizes that the options say."""
        raise TypeError(f"{type(self).__name__} must define _random()")

    def _load_pretrained(self, payload: Payload, tokens: Tokens, weights: str) -> nn.Module:
        folder = locate(weights, CONFIG)
        where = f"model {self.kind}, weights {folder}"
        with library_errors(where, "a config.json of the library transformers", "Write it with save_pretrained."):
            config = transformers_library(where).AutoConfig.from_pretrained(str(folder), **OFFLINE)
        self._check(config, folder, payload, tokens)
        return read_network(where, folder, self.loader, config=config, attn_implementation="eager")[0]

    def _check(self, config: Any, folder: Path, payload: Payload, tokens: Tokens) -> None:
        """Ids that mean something else to the encoder, or nothing, would train without a word of complaint."""
        where = f"model {self.kind}, weights {folder}"
        if (folder / "tokenizer.json").is_file() and digest_of(folder, "tokenizer.json") != tokens.digest:
            raise BadModel(
                where=where,
                expected="text in the tokens it was trained with",
                got=f"those of the tokenizer {tokens.tokenizer}",
                do=f"Set reader.tokens.tokenizer to {self.weights}.",
            )
        if tokens.vocabulary > config.vocab_size:
            raise BadModel(
                where=where,
                expected=f"at most {config.vocab_size:,} different tokens",
                got=f"{tokens.vocabulary:,}",
                do="Set reader.tokens.tokenizer to the one the model was trained with.",
            )
        positions = positions_of(config)
        if positions and positions < payload.shape[-1]:
            raise BadModel(
                where=where,
                expected=f"texts of at most {positions} tokens",
                got=f"{payload.shape[-1]}",
                do=f"Set reader.tokens.max-length to {positions} or less.",
            )
