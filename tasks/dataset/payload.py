"""What of a sample a network receives, and as which array."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from tasks.dataset import images
from tasks.dataset.encoders import ColumnEncoder
from tasks.dataset.tokenizer import Tokens
from tasks.pipeline.artefacts import Artefact

if TYPE_CHECKING:
    import torch


class Payload(BaseModel):
    """How a dataset's own columns become one network input.

    ``array``: the columns, in order, each a number or a fixed-size list, side by side, as ``shape``. Where some column
    is not only numbers, each is encoded by the encoder at its place, as float32.
    ``image``: one column of encoded images, decoded to ``shape`` = (C, H, W); those of 16 bits hold
    ``bits`` of them.
    ``tokens``: one column of text, or two that are read as a pair, as the ids of ``shape`` = (length,) or (2, length)
    that ``tokens`` makes of them: numbers that name and do not measure, so nothing standardises them. The second of the
    two may be ``label``, of prompts and the responses to them: what a model is to answer is then part of its input.
    ``features``: the vectors of ``shape`` = (d,) that the frozen encoder of this digest makes of the columns; they lie
    in the lake's feature store (tasks/dataset/feature_store.py) and not in the samples.
    """

    model_config = ConfigDict(frozen=True)
    kind: Literal["array", "image", "tokens", "features"]
    columns: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: Literal["uint8", "int8", "int32", "float32"]
    resize: bool = False
    tokens: Tokens | None = None
    encoders: tuple[ColumnEncoder, ...] = ()
    encoder: str = ""
    bits: int = 0

    @property
    def own(self) -> list[str]:
        """The columns that are the sample's whatever its label: what it is known by."""
        return [name for name in self.columns if name != "label"]

    @property
    def is_image(self) -> bool:
        """Whether the input has channels and two axes."""
        return len(self.shape) == 3

    @model_serializer(mode="wrap")
    def _without_what_it_lacks(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Payloads without text, encoders or bits read as they did before there were any: digests of earlier versions
        # stay what they are.
        said: dict[str, Any] = serialize(self)
        late = ("tokens", "encoders", "encoder", "bits")
        return {name: value for name, value in said.items() if name not in late or value}

    def blank(self, n: int) -> torch.Tensor:
        """n inputs of nothing but zeros, of the type a network receives."""
        import torch

        return torch.zeros(n, *self.shape, dtype=torch.int32 if self.tokens else torch.float32)


def picture_payload(column: str, look: images.Look) -> Payload:
    """Of a column of encoded pictures, as a look at some of them says."""
    return Payload(kind="image", columns=(column,), shape=look.shape, dtype="uint8", resize=True, bits=look.bits)


def payload_of(samples: Artefact) -> Payload:
    """The payload that an ingested artefact declares."""
    return Payload.model_validate(samples.facts["payload"])


def to_array(batch: pa.RecordBatch, payload: Payload) -> np.ndarray:
    """Payload columns of a record batch as one n × shape array in the payload's dtype."""
    if payload.kind == "image":
        data = batch.column(0).to_pylist()
        pixels = [images.decode(item, payload.shape, resize=payload.resize, bits=payload.bits) for item in data]
        return np.stack(pixels) if pixels else np.empty((0, *payload.shape), np.uint8)
    if payload.tokens:
        return payload.tokens.encode([column.to_pylist() for column in batch.columns], payload.shape)
    if payload.encoders:
        encoded = [encoder.encode(column) for encoder, column in zip(payload.encoders, batch.columns, strict=True)]
        return np.concatenate(encoded, axis=1).reshape(batch.num_rows, *payload.shape)
    columns = [column_values(column).astype(payload.dtype, copy=False) for column in batch.columns]
    flat = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
    return flat.reshape(batch.num_rows, *payload.shape)


def column_values(column: pa.Array) -> np.ndarray:
    """A numeric or fixed-size list column without nulls as an n × width array; no copy where Arrow allows it."""
    if pa.types.is_fixed_size_list(column.type):
        # flatten(), not .values: .values ignores the offset of a sliced array.
        values = column.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=False).reshape(-1, 1)
