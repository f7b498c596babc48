"""What the gradients of a shard are, told in its file's own metadata."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from tasks.core.errors import BadArtefact

_ABOUT = b"gradsieve"


class ShardMetadata(BaseModel):
    """What the gradients of a shard are; the same for all shards of a run."""

    model_config = ConfigDict(frozen=True)
    gradient: dict[str, Any]
    """The gradient kind and its options, as far as they decide the values (projection and seed among them)."""
    loss: tuple[str, float]
    """Kind and label smoothing."""
    checkpoints: tuple[str, ...]
    """Digests of the networks, one for each fold."""
    epochs: tuple[int, ...]
    """Epochs of each fold's networks."""
    layers: tuple[str, ...]
    """Names behind ``layer_norms``."""
    joined: str
    """How the terms of several checkpoints make one gradient: ``sum`` or ``stack``."""

    @classmethod
    def of(cls, schema: pa.Schema) -> ShardMetadata:
        """Read it off a shard's schema.

        Raises:
            BadArtefact: the shard does not tell.
        """
        text = (schema.metadata or {}).get(_ABOUT)
        if text is None:
            raise BadArtefact(
                where="a gradient shard",
                expected="its model and projection in the file's metadata",
                got="a file without",
                do="It was not written by gradsieve; delete its folder in the lake and run again.",
            )
        return cls.model_validate_json(text)

    def on(self, schema: pa.Schema) -> pa.Schema:
        """The schema that carries it."""
        return schema.with_metadata({_ABOUT: self.model_dump_json().encode()})


def difference(first: ShardMetadata, other: ShardMetadata) -> tuple[str, str]:
    """The first thing in which two shards are of different origin, told for both; empty where there is none."""
    for name in ShardMetadata.model_fields:
        if getattr(first, name) != getattr(other, name):
            return f"{name} {getattr(first, name)}", f"{name} {getattr(other, name)}"
    return "", ""
