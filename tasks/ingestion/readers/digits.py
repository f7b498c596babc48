"""scikit-learn's 1,797 handwritten digits: real images that every installation has."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from tasks.dataset.payload import Payload
from tasks.ingestion.readers import Chunk, Noise, Reader


class Digits(Reader, kind="digits"):
    """8 × 8 grey digits (UCI optical recognition of handwritten digits, as scikit-learn ships them)."""

    noise: Noise = Field(default=Noise(share=0.1), description="Label noise to plant; for trials and benchmarks.")

    def open(self) -> tuple[Payload, Iterator[Chunk]]:
        """All digits as one chunk; pixel values 0 to 16."""
        # The file itself: importing scikit-learn to have it read takes two seconds.
        with gzip.open(self.files()[0], "rt", encoding="ascii") as file:
            table = np.loadtxt(file, dtype=np.uint8, delimiter=",")
        pixels = table[:, :-1]
        chunk = Chunk(
            source="digits",
            rows=pa.array(np.arange(len(pixels))),
            label=pa.array([str(label) for label in table[:, -1]]),
            payload={"pixels": pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 64)},
        )
        return Payload(kind="array", columns=("pixels",), shape=(1, 8, 8), dtype="uint8"), iter([chunk])

    def files(self) -> list[Path]:
        """The data file inside scikit-learn, found without importing it."""
        spec = importlib.util.find_spec("sklearn")
        folders = spec.submodule_search_locations if spec else None
        return [Path(folder) / "datasets" / "data" / "digits.csv.gz" for folder in folders or []]
