"""What a base run knows of one shard's samples, so that it need not be computed again."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.dataset.samples import Inputs, sample_paths
from tasks.gradients.shard_metadata import ShardMetadata
from tasks.pipeline.arrow_files import map_table
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.recorded_run import stages_of


class BaseShard:
    """What a base run has of one shard's samples.

    A sample counts as known if the base has its gradient, made as ``metadata`` says, under the same label: a relabelled
    one has another. Shards of other models, losses, projections or options are passed over.

    Args:
        run: whose lake.
        base: the reference to it; to none.
        metadata: what the gradients have to be.
        inputs: the shard's samples.
        samples: where they stand.
    """

    def __init__(self, run: Run, base: Artefact, metadata: ShardMetadata, inputs: Inputs, samples: Artefact) -> None:
        self.run, self.metadata = run, metadata
        self.shards = stages_of(run, base, "gradients")
        self.ids = pa.array(inputs.ids, pa.string())
        known = stages_of(run, base, "samples")
        # A shard of the base with the same bytes has the same samples and labels: nothing of the base need be read.
        unchanged = {file.sha256 for before in known for file in before.files} >= {f.sha256 for f in samples.files}
        self.same = np.full(len(inputs.ids), unchanged)
        if not unchanged:
            self._compare(known, inputs.text(samples.facts["classes"]))

    def _compare(self, known: list[Artefact], labels: pa.Array) -> None:
        """Note which samples the base has under the same label, by reading all of its own."""
        for before in known:
            for path in sample_paths(self.run, before, "train"):
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches(columns=["sample_id", "label"]):
                        rows, indices = self._match(batch)
                        equal = pc.equal(batch["label"].take(rows), labels.take(indices))
                        self.same[indices.filter(equal).to_numpy()] = True

    def _match(self, batch: pa.RecordBatch) -> tuple[pa.Array, pa.Array]:
        """(rows of ``batch`` that are samples of this shard, their positions in it)."""
        index = pc.index_in(batch["sample_id"], value_set=self.ids)
        return pc.indices_nonzero(pc.is_valid(index)), index.drop_null()

    def shard(self, name: str) -> Artefact | None:
        """The base's shard of this name, if it holds just these samples."""
        for artefact in self.shards if self.same.all() else []:
            if any(file.name == f"gradients/{name}.arrow" for file in artefact.files):
                tables = [map_table(path) for path in self.run.paths(artefact, ".arrow", "gradients")]
                ids = pa.concat_arrays([c for table in tables for c in table["sample_id"].chunks])
                same = len(ids) == len(self.ids) and pc.all(pc.is_in(ids, value_set=self.ids)).as_py()
                if same and self._alike(tables[0].schema):
                    return artefact
        return None

    def _alike(self, schema: pa.Schema) -> bool:
        """Whether a shard holds what would be written now: those of before 0.7 hold residuals."""
        return ShardMetadata.of(schema) == self.metadata and "residual" not in schema.names

    def rows(self) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """(positions in the shard, their gradients as they were stored)."""
        missing = int(self.same.sum())
        for artefact in self.shards:
            for path in self.run.paths(artefact, ".arrow", "gradients") if missing else []:
                table = map_table(path)
                if not self._alike(table.schema):
                    continue
                for batch in table.to_batches():
                    rows, indices = self._match(batch)
                    mask = pa.array(self.same[indices.to_numpy()])
                    rows, indices = rows.filter(mask), indices.filter(mask).to_numpy()
                    if len(rows):
                        yield indices, batch if len(rows) == batch.num_rows else batch.take(rows)
                        missing -= len(rows)
