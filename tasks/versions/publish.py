"""publish: a recorded run → the version it makes of its dataset, and the dataset as it came, if that is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.ingestion.readers import Reader
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.assets import described
from tasks.pipeline.step import act
from tasks.pipeline.stored_names import in_lake
from tasks.versions.history import History
from tasks.versions.manifest import Manifest
from tasks.versions.promotion import Promotion

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.versions.contents import Remedy


@act("publish {history.dataset}", asset="version")
def publish(
    run: Run,
    record: Artefact,
    history: History,
    samples: Artefact,
    checkpoints: list[Artefact],
    scores: Artefact,
    flags: Artefact,
    metrics: Artefact,
    reader: Reader,
    copies: Artefact | None = None,
    promotion: Promotion = "gate",
) -> Artefact:
    """Commit the next version, unless the newest says just the same.

    ``samples`` are the dataset as it came; the training copies that the run left out (``left_out.parquet`` of what
    find_copies left) are removed from the version by decision, whatever else was decided.

    Not cached: what a store holds is asked of the store. Asked again, it writes nothing.
    """
    from tasks.pipeline.provenance import code_version
    from tasks.versions.publication import Publication, models_digest

    remedy: Remedy = "relabel" if metrics.facts["verdict"]["arm"] == "relabelled" else "remove"
    publication = Publication(run, history, samples)
    provenance = {
        "by": "run",
        "run_id": record.made_by,
        "code": code_version(),
        "config": (in_lake(run.lake, record.folder) / "config.yaml").read_text(encoding="utf-8"),
        "source": reader.fingerprint(),
    }
    parent = publication.commit_ingested(provenance | {"model": None, "flags": None, "metrics": None}, promotion)
    decisions = _decisions(run, samples, scores, flags, copies, remedy)
    proof = {
        "model": models_digest(checkpoints),
        "detectors": scores.facts["detectors"],
        "budget": flags.facts["found"],
        "remedy": remedy,
        "verdict": metrics.facts["verdict"] | {"gains": metrics.facts["gains"]},
        "flags": flags.digest,
        "metrics": metrics.digest,
    }
    return _version(history, publication.commit_cleaned(parent, decisions, provenance | proof), proof)


def _decisions(
    run: Run, samples: Artefact, scores: Artefact, flags: Artefact, copies: Artefact | None, remedy: Remedy
) -> pa.Table:
    """What is done to which sample, by which rule."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.dataset.samples import sample_paths
    from tasks.versions.contents import decide, decide_left_out

    facts = flags.facts
    rule = f"{facts['detector']}, {facts['flagged']:,} flagged of a budget of {facts['budget']:,}; {remedy}"
    flagged = run.paths(flags, "flags.parquet")
    decisions = decide(flagged, sample_paths(run, samples), [run.path(scores)], remedy, rule, run.lake / "cache")
    if copies is None:
        return decisions
    left_out = pq.read_table(run.paths(copies, "left_out.parquet")[0])
    return pa.concat_tables([decisions, decide_left_out(left_out)])


def _version(history: History, manifest: Manifest, proof: dict[str, Any]) -> Artefact:
    """The version as a flow knows it."""
    names = ("version", "dataset", "parent", "rows", "removed", "relabelled", "content")
    facts = manifest.model_dump(include=set(names)) | {"plain": manifest.plain is not None}
    made = Artefact(
        stage="version",
        folder=f"{history.objects.where}/{history.dataset}",
        files=(),
        facts=facts | {"verdict": proof["verdict"]["word"]},
        digest=manifest.members,
        made_by=manifest.run_id or "",
    )
    return described(made, *names, "verdict")
