"""halve: one rung's validation predictions → the better half of the candidates."""

from __future__ import annotations

from tasks.decision.budget_search import Search, better_half
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step


@step("halve, rung {rung}")
def halve(run: Run, names: list[str], search: Search, trials: list[Artefact], rung: int) -> Artefact:
    """Compare the candidates that are left on the validation split → ``search.parquet``, the rungs before included.

    Args:
        run: where to write.
        names: of all candidates.
        search: as it stands.
        trials: what retrain left of those that are left: one after the other, each under the same number of seeds.
        rung: number of this round, from 1.

    Returns:
        Facts: ``survivors``, their indices among the candidates, ``names``, what they are called, and ``rung``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.pipeline.schemas import SEARCH

    indices, flags = search.survivors, search.candidates
    each = len(trials) // len(indices)
    rows, means = [], {}
    flagged = {index: flags[index].facts["flagged"] for index in indices}
    for i, index in enumerate(indices):
        of_candidate = [
            {"seed": trial.facts["seed"], "accuracy": trial.facts["credit"]}
            for trial in trials[i * each : (i + 1) * each]
        ]
        means[index] = sum(row["accuracy"] for row in of_candidate) / each
        about = {"rung": rung, "budget": names[index], "flagged": flagged[index], "place": index}
        rows += [about | row for row in of_candidate]
    survivors = better_half(means, flagged)
    table = pa.Table.from_pylist([row | {"kept": row["place"] in survivors} for row in rows], SEARCH)
    earlier = [pq.read_table(run.path(artefact), schema=SEARCH) for artefact in search.rounds[-1:]]
    table = pa.concat_tables([*earlier, table])
    with run.draft("search") as draft:
        pq.write_table(table, draft.path("search.parquet", table.num_rows), compression="zstd")
        return draft.commit(survivors=survivors, names=[names[index] for index in survivors], rung=rung)
