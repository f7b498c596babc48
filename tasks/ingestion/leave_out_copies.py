"""leave_out_copies: samples → the same without the training copies that are to be left out."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from tasks.dataset.samples import sample_paths
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step


@step("leave out copies")
def leave_out_copies(run: Run, samples: Artefact, copies: Artefact) -> Artefact:
    """The samples that the rest of the run is about: no network, no arm and no figure knows the others.

    The dataset as it came, with them, is what a version is made of: that they are left out is a decision of it.

    Args:
        run: whose lake.
        samples: as ingested.
        copies: what find_copies left, ``left_out.parquet`` of it.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    (path,) = run.paths(copies, "left_out.parquet")
    gone = pq.read_table(path, columns=["sample_id"])["sample_id"].combine_chunks()
    count = 0
    with run.draft("samples") as draft:
        paths = dict(
            zip((f for f in samples.files if f.name.startswith("samples/")), sample_paths(run, samples), strict=True)
        )
        for file in samples.files:
            if file.name.startswith("samples/train"):
                table = pq.read_table(paths[file])
                kept = table.filter(pc.invert(pc.is_in(table["sample_id"], value_set=gone)))
                if kept.num_rows < table.num_rows:
                    count += table.num_rows - kept.num_rows
                    target = draft.path(file.name, kept.num_rows)
                    pq.write_table(kept, target, compression="zstd", row_group_size=4096)
                    continue
            draft.adopt(file, run.path(samples, file))
        splits = samples.facts["splits"] | {"train": samples.facts["splits"]["train"] - count}
        return draft.commit(**(samples.facts | {"splits": splits}))
