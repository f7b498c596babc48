"""Transformer encoders for text: pretrained ones from this machine, or small ones drawn at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tasks.dataset.encoders.pretrained_network import transformers_library
from tasks.dataset.payload import Payload
from tasks.dataset.tokenizer import Tokens
from tasks.training.models.language import Language

if TYPE_CHECKING:
    from torch import nn


class Transformer(Language, kind="transformer"):
    """An encoder of the library transformers, pooled, and an ``nn.Linear`` head on it."""

    pooling: Literal["mean", "first"] = Field(
        default="mean", description="One vector a text: the mean of its tokens', or the first token's ([CLS])."
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Before the head; of random weights, everywhere.")

    def build(self, payload: Payload, classes: int) -> nn.Module:
        """The encoder, what is trained of it, and the head."""
        from tasks.training.modules import TextClassifier

        tokens = self._tokens(payload)
        encoder, pretrained_names = self._network(payload)
        return TextClassifier(
            encoder,
            int(encoder.config.hidden_size),
            classes,
            pad=tokens.pad,
            pooling=self.pooling,
            dropout=self.dropout,
            frozen=self.tuning == "frozen",
            pretrained_names=pretrained_names,
        )

    def _random(self, payload: Payload, tokens: Tokens) -> nn.Module:
        transformers = transformers_library(f"model {self.kind}")
        config = transformers.BertConfig(
            vocab_size=tokens.vocabulary,
            hidden_size=self.width,
            num_hidden_layers=self.depth,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.width,
            max_position_embeddings=payload.shape[-1],
            type_vocab_size=2,
            pad_token_id=tokens.pad,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
        )
        config._attn_implementation = "eager"
        return transformers.BertModel(config, add_pooling_layer=False)
