"""tabulate: what every repetition measured → one comparison folder, whole and immutable."""

from __future__ import annotations

from tasks.pipeline.artefacts import MANIFEST, Artefact, File, Run
from tasks.pipeline.durable_files import sha256_of, whole_folder, write_durably
from tasks.pipeline.step import step


@step("tabulate")
def tabulate(run: Run, dataset: str, config: str, measures: list[Artefact]) -> Artefact:
    """Write ``comparisons/<run_id>/``: ``comparison.parquet``, ``curves.parquet``, ``plot.png`` and ``config.yaml``.

    Means over repetitions with their 95 % t intervals; curves as they were measured, with the repetition they are of.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.evaluation.comparison import rank_detectors, summarise
    from tasks.evaluation.precision_recall_chart import precision_recall_chart

    rows, curves = [], []
    for repetition, artefact in enumerate(measures):
        table, curve = (pq.read_table(path) for path in run.paths(artefact, ".parquet"))
        rows += table.to_pylist()
        curves.append(curve.append_column("repetition", pa.array([repetition] * curve.num_rows, pa.int64())))
    table, curve = summarise(rows, dataset), pa.concat_tables(curves)
    facts = measures[0].facts
    final = run.lake / "comparisons" / run.run_id
    with whole_folder(final) as aside:
        pq.write_table(table, aside / "comparison.parquet", compression="zstd")
        pq.write_table(curve, aside / "curves.parquet", compression="zstd")
        title = f"{dataset}: {facts['wrong']:,} of {facts['known']:,} labels wrong, {len(measures)} repetitions"
        noise = facts["wrong"] / facts["known"]
        precision_recall_chart(curve, rank_detectors(table.to_pylist()), noise, title, aside / "plot.png")
        lengths = {"comparison.parquet": table.num_rows, "curves.parquet": curve.num_rows, "plot.png": 0}
        artefact = Artefact(
            stage="comparison",
            folder=str(final.relative_to(run.lake)),
            files=tuple(
                File(name=name, rows=rows, size=(aside / name).stat().st_size, sha256=sha256_of(aside / name))
                for name, rows in lengths.items()
            ),
            facts={"dataset": dataset, "repetitions": len(measures)} | facts,
            digest=run.run_id,
            made_by=run.run_id,
        )
        write_durably(aside / "config.yaml", config)
        write_durably(aside / MANIFEST, artefact.model_dump_json(indent=1))
    return artefact
