"""What every frozen encoder is: a network that others trained, and the vectors it makes of samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tasks.core.errors import BadModel
from tasks.core.plugins import Component
from tasks.dataset.payload import Payload
from tasks.pipeline.cache_keys import code_digest

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

Embed = Callable[[list[Any]], "torch.Tensor"]
"""Some samples' inputs, as ``cells`` gives them → b × d float32 on the CPU."""


class FrozenEncoder(Component):
    """A network that is trained no more, so that what it makes of a sample is computed once.

    Its vectors are kept by its digest and the sample's content (tasks/dataset/feature_store.py): folds, arms,
    neighbours and the next runs share them.
    """

    kind: Any = None
    reads: ClassVar[Literal["pictures", "texts"]]

    @cached_property
    def digest(self) -> str:
        """Of everything that decides a vector but the sample: options, weights, code."""
        content = [type(self).__qualname__, self.model_dump(mode="json"), self.fingerprint()]
        content.append(code_digest([type(self).__module__]))
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def key(self, payload: Payload) -> str:
        """What its vectors of such inputs are kept by: the encoder, and how a sample's bytes become what it is given.

        Pictures are given as they lie in their files, whatever size networks read them in.
        """
        joined = payload.tokens.joined if payload.tokens else None
        pixels = (payload.shape, payload.dtype) if payload.kind == "array" else None
        content = json.dumps([self.digest, payload.kind, len(payload.columns), joined, pixels, payload.bits])
        return hashlib.sha256(content.encode()).hexdigest()

    def check(self, payload: Payload) -> None:
        """Refuse inputs of another kind.

        Raises:
            BadModel: the payload is of another kind than the encoder reads.
        """
        is_read = payload.is_image if self.reads == "pictures" else payload.tokens is not None
        if not is_read:
            raise BadModel(
                where=f"model encoder, {self.kind}",
                expected=self.reads,
                got=f"inputs of kind {payload.kind} and shape {' × '.join(map(str, payload.shape))}",
                do="Name the column that holds them (--reader.image or --reader.text), or choose another --model.kind.",
            )

    def cells(self, batch: pa.RecordBatch, payload: Payload) -> list[Any]:
        """The inputs of some rows as the encoder takes them; ``batch`` holds the payload's columns."""
        raise TypeError(f"{type(self).__name__} must define cells()")

    def embedder(self, device: torch.device) -> Embed:
        """The network on a device, in evaluation mode.

        Raises:
            BadModel: it cannot be read, or makes no vectors.
        """
        raise TypeError(f"{type(self).__name__} must define embedder()")
