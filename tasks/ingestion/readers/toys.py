"""Points in the plane, drawn when they are read: what the toy readers have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from tasks.dataset.samples import Payload
from tasks.ingestion.readers import CHUNK_ROWS, Chunk, Reader


class Toy(Reader):
    """Base of the toy readers: two classes of points, train and test drawn independently of each other."""

    train: int = Field(ge=4, description="Training points, half of them in each class.")
    test: int = Field(default=100, ge=0, description="Test points, half of them in each class; their labels are true.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the points; noise.seed is that of the flips.")

    def points(self, n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """n × 2 points and their n classes, 0 or 1, in random order."""
        raise TypeError(f"{type(self).__name__} must define points()")

    def open(self) -> tuple[Payload, Iterator[Chunk]]:
        """Draw the points; x0 and x1 are their coordinates."""
        return Payload(kind="array", columns=("x0", "x1"), shape=(2,), dtype="float32"), self._chunks()

    def files(self) -> list[Path]:
        """None: the options decide everything."""
        return []

    def _chunks(self) -> Iterator[Chunk]:
        for stream, (split, n) in enumerate({"train": self.train, "test": self.test}.items()):
            if not n:
                continue
            # A stream of its own: another number of training points leaves the test points as they are.
            x, y = self.points(n, np.random.RandomState([self.seed, stream]))
            for first in range(0, n, CHUNK_ROWS):
                at = slice(first, first + CHUNK_ROWS)
                yield Chunk(
                    source=f"{self.kind} {split}",
                    rows=pa.array(np.arange(n)[at]),
                    label=pa.array([str(label) for label in y[at]], pa.string()),
                    payload={f"x{axis}": pa.array(x[at, axis].astype(np.float32)) for axis in range(2)},
                    split=split,
                )
