"""Causal language models for prompts and responses: pretrained ones from this machine, or small ones at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tasks.core.errors import BadModel
from tasks.dataset.encoders.pretrained_network import transformers_library
from tasks.dataset.payload import Payload
from tasks.dataset.tokenizer import Tokens
from tasks.training.models.language import Language

if TYPE_CHECKING:
    import torch
    from torch import nn


class CausalLM(Language, kind="causal_lm"):
    """A causal language model of the library transformers, whose output is how likely it thinks a response.

    The loss is over the tokens of the response and its end alone. Take gradients of the kind ``layers``, of LoRA's
    matrices (``*lora_*``) or of chosen layers.
    """

    loader: ClassVar[str] = "AutoModelForCausalLM"
    answers: ClassVar[bool] = True
    tuning: Literal["full", "lora", "frozen"] = Field(
        default="lora", description="full: everything is trained. lora: low-rank changes beside the chosen layers."
    )
    lora_targets: list[str] = Field(
        default=["q_proj", "v_proj"], min_length=1, description="Layers they stand beside, by the end of their names."
    )

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        if self.tuning == "frozen":
            raise ValueError("tuning: expected full or lora, got frozen, which leaves nothing to train")
        return self

    def build(self, payload: Payload, classes: int) -> nn.Module:
        """The model, and what is trained of it."""
        from tasks.training.modules import ResponseLikelihood

        if self._tokens(payload).end is None:
            raise BadModel(
                where=f"model {self.kind}",
                expected="prompts and responses",
                got="texts with classes",
                do="Set the reader's target to response, or choose the model transformer.",
            )
        encoder, pretrained_names = self._network(payload)
        return ResponseLikelihood(encoder, pretrained_names=pretrained_names)

    def largest(self, example: torch.Tensor) -> torch.Tensor:
        """All response: places before one are given no logits."""
        widest = example.clone()
        widest[:, 1] = 1
        return widest

    def _random(self, payload: Payload, tokens: Tokens) -> nn.Module:
        transformers = transformers_library(f"model {self.kind}")
        config = transformers.LlamaConfig(
            vocab_size=tokens.vocabulary,
            hidden_size=self.width,
            num_hidden_layers=self.depth,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            intermediate_size=4 * self.width,
            max_position_embeddings=payload.shape[-1],
            pad_token_id=tokens.pad,
            eos_token_id=tokens.end,
            bos_token_id=None,
        )
        config._attn_implementation = "eager"
        return transformers.LlamaForCausalLM(config)
