"""make_folds: training samples → a cross-fitting fold for each."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core.errors import BadConfig, BadInput
from tasks.dataset.samples import known_folds, table_of
from tasks.dataset.targets import target_of
from tasks.ingestion.copies import NEAR_CONTENTS
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.recorded_run import networks_of, stages_of
from tasks.pipeline.schemas import FOLDS
from tasks.pipeline.step import step

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@step("make {folds} folds")
def make_folds(run: Run, samples: Artefact, folds: int, base: Artefact, near: Artefact | None = None) -> Artefact:
    """Assign folds to the training samples, stratified by label; duplicates and groups stay together, repeats do not.

    Near copies stay together too, unless a crowd of them would fill half a fold, or a base has them in several; the
    fact ``apart`` counts such pairs. With a base, its samples keep their folds and new ones are dealt among them: no
    model of the base has seen those.

    Args:
        run: whose lake.
        samples: the training samples.
        folds: how many.
        base: an earlier run to build upon, or none.
        near: ``near_contents.parquet`` of what find_copies left; None where nobody looked.

    Raises:
        BadInput: other classes or inputs than the base's, or groups that now join several of its folds.
        BadConfig: more folds than the data allows, or than the base has.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.dataset.sample_ids import inseparable, join_near, uniforms
    from tasks.kernels.folds import assign_folds, extend_folds

    table = table_of(run, samples, ["sample_id", "label", "group"])
    ids = table["sample_id"].to_pylist()
    are_repeats = "repeats" in samples.facts
    pairs = pq.read_table(run.path(near)) if near else NEAR_CONTENTS.empty_table()
    most = len(ids) // (2 * folds)
    units = inseparable(ids, table["group"].to_pylist(), are_repeats=are_repeats)
    distinct = len(np.unique(units))
    if folds > distinct:
        raise BadConfig(
            where="option folds",
            expected=f"at most {distinct}, one for each distinct training sample or group",
            got=str(folds),
            do="Use fewer folds, or 1 for in-sample gradients.",
        )
    earlier = stages_of(run, base, "folds")
    if earlier:
        before = stages_of(run, base, "samples")[0]
        _check_base(samples, folds, before, earlier[0])
        every, groups = _with_removed(run, before, ids, table["group"].to_pylist())
        units = inseparable(every, groups, are_repeats=are_repeats)
        base_folds = known_folds(run, earlier[0], np.array(every, dtype=object))
        _check_units(units, base_folds)
        units, apart = join_near(units, every, pairs, most, base_folds)
        fold = extend_folds(units, base_folds, *uniforms(every, 0), folds)[: len(ids)]
    else:
        units, apart = join_near(units, ids, pairs, most)
        fold = assign_folds(units, target_of(samples).strata(table["label"]), folds)
    with run.draft("folds") as draft:
        new = _new(run, base, table) if earlier else np.zeros(len(ids), bool)
        out = pa.table([pa.array(ids, pa.string()), pa.array(fold, pa.int16()), pa.array(new)], schema=FOLDS)
        pq.write_table(out, draft.path("folds.parquet", out.num_rows), compression="zstd")
        dimensions_for = earlier[0].facts["samples"] if earlier else len(ids)
        return draft.commit(
            folds=folds,
            samples=dimensions_for,
            new=int(new.sum()),
            networks_of=networks_of(run, base),
            **({"apart": apart} if apart else {}),
        )


def _with_removed(run: Run, before: Artefact, ids: list[str], groups: list[str | None]) -> tuple[list, list]:
    """Ids and groups, followed by those that the base's models were trained on and the source has lost since.

    New samples are dealt beside those too: a copy of one may have stayed.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = table_of(run, before, ["sample_id", "split", "group"])
    rows = rows.filter(pc.equal(rows["split"], "train"))
    rows = rows.filter(pc.invert(pc.is_in(rows["sample_id"], value_set=pa.array(ids, pa.string()))))
    return ids + rows["sample_id"].to_pylist(), groups + rows["group"].to_pylist()


def _new(run: Run, base: Artefact, table: pa.Table) -> np.ndarray:
    """Which samples are new since the base's networks were trained: by its own record, or absent there as they are."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    (before,), (folds,) = stages_of(run, base, "samples"), stages_of(run, base, "folds")
    base_table = table_of(run, before, ["sample_id", "split", "label"])
    base_table = base_table.filter(pc.equal(base_table["split"], "train"))
    index = pc.index_in(table["sample_id"], value_set=base_table["sample_id"].combine_chunks())
    same = pc.equal(base_table["label"].combine_chunks().take(index.combine_chunks()), table["label"].combine_chunks())
    new_rows = pq.read_table(run.path(folds))
    new_rows = new_rows.filter(new_rows["new"])
    since = pc.is_in(table["sample_id"], value_set=new_rows["sample_id"].combine_chunks().cast(pa.string()))
    return pc.or_(pc.invert(pc.fill_null(same, fill_value=False)), since.combine_chunks()).to_numpy(
        zero_copy_only=False
    )


def _check_units(units: np.ndarray, base_folds: np.ndarray) -> None:
    """Refuse groups that join samples of several folds: whichever is taken, its model has seen one of them."""
    import numpy as np

    old = base_folds >= 0
    pairs = np.unique(np.stack([units[old], base_folds[old].astype(units.dtype)]), axis=1)
    names, folds = np.unique(pairs[0], return_counts=True)
    if (folds > 1).any():
        raise BadInput(
            where="the samples' groups",
            expected="groups and copies that the base has in one fold each",
            got=f"{int((folds > 1).sum()):,} of {len(names):,} that now join samples of several folds",
            do="The groups have changed since: run without a base.",
        )


def _check_base(samples: Artefact, folds: int, before: Artefact, earlier: Artefact) -> None:
    if folds != earlier.facts["folds"]:
        raise BadConfig(
            where="option folds",
            expected=f"{earlier.facts['folds']}, as the base has",
            got=str(folds),
            do="Keep the number of folds, or run without a base.",
        )
    for fact in ("classes", "payload", "target"):
        if samples.facts.get(fact) != before.facts.get(fact):
            raise BadInput(
                where=f"the samples' {fact}",
                expected=f"{before.facts.get(fact)}, as the base's models were trained on",
                got=str(samples.facts.get(fact)),
                do="Train anew: run without a base.",
            )
