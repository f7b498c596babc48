"""Ingests real files in a temporary lake and hands back what was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers import Reader
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Artefact, Run


@dataclass(frozen=True)
class Ingested:
    """One ingested artefact, read back from its files."""

    run: Run
    artefact: Artefact
    samples: pa.Table
    rejects: pa.Table

    @property
    def reasons(self) -> dict[int | None, str]:
        """Reason of each rejected row."""
        return {row["row"]: row["reason"] for row in self.rejects.to_pylist()}

    def column(self, name: str) -> list[Any]:
        """One column of the samples, in the order of the source."""
        return self.samples[name].to_pylist()


@pytest.fixture(scope="session")
def read_into() -> Callable[..., Ingested]:
    """Ingest a reader into a lake without Prefect."""

    def ingested(lake: Path, reader: Reader, max_rejects: float = 1.0) -> Ingested:
        run = Run.start(lake, "test")
        artefact = ingest.fn(run, reader, Ingestion(max_rejects=max_rejects))
        paths = {path: path.parent.name == "samples" for path in run.paths(artefact, ".parquet")}
        samples = pa.concat_tables([pq.read_table(path) for path, is_samples in paths.items() if is_samples])
        samples = samples.sort_by([("source", "ascending"), ("row", "ascending")])  # files are by split
        rejects = pa.concat_tables([pq.read_table(path) for path in paths if path.name == "rejects.parquet"])
        return Ingested(run, artefact, samples, rejects)

    return ingested


@pytest.fixture
def read(read_into: Callable[..., Ingested], tmp_path: Path) -> Callable[..., Ingested]:
    """Ingest a reader without Prefect into a lake of the test."""
    return partial(read_into, tmp_path / "lake")
