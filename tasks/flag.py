"""flag: samples + scores + evidence → flags.parquet and audit.parquet, decided in SQL."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.artefacts import Artefact, Run
from tasks.budgets import Budget
from tasks.decision import Flagging, audit, decide, described
from tasks.samples import table_of
from tasks.schemas import GRADIENTS
from tasks.step import step

if TYPE_CHECKING:
    import pyarrow as pa

# Classes that are named in the facts: those that lose most beyond their share.
_MOST_FLAGGED = 3


@step("flag")
def flag(
    run: Run,
    samples: Artefact,
    gradients: list[Artefact],
    votes: Artefact,
    checkpoints: list[Artefact],
    canaries: Artefact,
    scores: Artefact,
    budget: Budget,
    options: Flagging,
) -> Artefact:
    """Decide which training samples are flagged, and why; say what that does to each class and group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.evidence import Evidence
    from tasks.guards import advised
    from tasks.standing import standing_of

    detector = options.deciding(scores.facts["detectors"])
    evidence = Evidence(run, samples, gradients, votes, checkpoints, canaries)
    table = pq.read_table(run.path(scores))
    standing = standing_of(evidence, table[detector].to_numpy())
    found = budget.find(standing)
    scalars = [
        pq.read_table(path, schema=GRADIENTS) for g in gradients for path in run.paths(g, ".parquet", "gradients")
    ]
    # One checkpoint is one fold: trained on the very samples it is asked about.
    model = "in-sample" if len(checkpoints) == 1 else "held-out"
    thin = table_of(run, samples, ["sample_id", "label", "group", "source", "row", "source_id"])
    advice = advised(evidence, standing.wrongness, options)
    flags = decide(table, thin, pa.concat_tables(scalars), advice, found.count, options, model)
    audited = audit(flags, thin)
    with run.draft("flags") as draft:
        pq.write_table(described(flags, thin), draft.path("flags.parquet", flags.num_rows), compression="zstd")
        pq.write_table(audited, draft.path("audit.parquet", audited.num_rows), compression="zstd")
        return draft.commit(
            detector=detector, budget=found.count, found=found.model_dump(mode="json"), **_facts(flags, audited)
        )


def _facts(flags: pa.Table, audited: pa.Table) -> dict[str, Any]:
    """Counts, the wrong labels expected among the flagged (None without canaries), and who loses most."""
    import pyarrow.compute as pc

    chosen = flags.filter(flags["flag"])
    classes = audited.filter(pc.equal(audited["by"], "class")).to_pylist()
    most = sorted((row for row in classes if row["flagged"]), key=lambda row: (-row["lift"], row["name"]))
    told = ("name", "samples", "flagged", "lift")
    return {
        "flagged": chosen.num_rows,
        "of": flags.num_rows,
        "expected_wrong": None if flags["p_wrong"].null_count else pc.sum(chosen["p_wrong"]).as_py() or 0.0,
        "capped": sum(row["capped"] for row in classes),
        "protected": sum(row["protected"] for row in classes),
        "most_flagged": [{name: row[name] for name in told} for row in most[:_MOST_FLAGGED]],
    }
