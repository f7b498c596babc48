"""Every digest again, from raw data to published rows."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from tasks.core.errors import BadArtefact, GradsieveError
from tasks.dataset.payload import Payload
from tasks.dataset.sample_ids import content_hashes
from tasks.ingestion.readers import ReaderChoice
from tasks.pipeline.durable_files import sha256_of
from tasks.pipeline.stored_names import inside, is_name
from tasks.versions.chain import Chain
from tasks.versions.check import Check
from tasks.versions.claims import claims
from tasks.versions.contents import COPIES_RULE, Rows, decide, decide_left_out, members_digest, rows_of
from tasks.versions.history import History
from tasks.versions.manifest import Manifest
from tasks.versions.run_checks import Digests, run_check

# What of a decision follows from flags and copies.
_DECIDED = ["sample_id", "decision", "new_label"]


def version_checks(
    history: History, number: int, lake: Path, chain: Chain, digests: Digests | None = None
) -> Iterator[Check]:
    """Recompute what a version claims, also where its manifest was altered."""
    try:
        manifest = history.altered(number)
    except BadArtefact as error:
        yield Check("manifest", "wrong", str(error))
        return
    yield from checks(history, manifest, lake, chain, digests)


def checks(
    history: History, manifest: Manifest, lake: Path, chain: Chain | None = None, digests: Digests | None = None
) -> Iterator[Check]:
    """Recompute what a version claims.

    seal         its manifest, by its own digest and by what other versions and the log say of it
    parent       what it says it comes from
    verdict      what the run says that made it
    provenance   what there is nothing to recompute from: when, by whom, by which code
    source       the source files' digest, as they are now
    run          every file of the run that made it
    objects      the bytes of every part, of the decisions and of the plain files
    identities   every sample_id from the sample's own inputs
    decisions    what the run's flags and scores lead to
    members      the rows after the decisions, counted and hashed; in plain the same ones

    Args:
        history: of the dataset.
        manifest: of the version.
        lake: with the runs.
        chain: of the dataset, if it has been read.
        digests: what was read of runs' files already.
    """
    yield (chain or Chain(history)).of_version(manifest.file)
    yield from claims(history, manifest, lake)
    yield _source(manifest)
    yield _run(manifest, lake, digests)
    with rows_of(history, manifest.rows_of) as rows:
        objects = [_object(rows, name, file.sha256) for name, file in manifest.rows_of.objects.items()]
        yield from objects
        if all(check.state == "ok" for check in objects):
            yield _identities(rows, manifest)
            yield from _decisions(rows, manifest, lake)
            yield from _members(rows, manifest)


def _source(manifest: Manifest) -> Check:
    if manifest.config is None or manifest.source is None:
        return Check("source", "unknown", "no source is recorded")
    try:
        reader = ReaderChoice.model_validate(yaml.safe_load(manifest.config)["reader"]).component
        missing = [str(path) for path in reader.files() if not path.exists()]
        if missing:
            return Check("source", "unknown", f"{missing[0]} is not here")
        same = reader.fingerprint() == manifest.source
    except (GradsieveError, ValueError, KeyError, OSError) as error:
        return Check("source", "unknown", str(error).partition("\n")[0])
    return Check("source", "ok", "unchanged") if same else Check("source", "wrong", "has changed since it was read")


def _run(manifest: Manifest, lake: Path, digests: Digests | None) -> Check:
    try:
        folder = None if manifest.run_id is None else inside(lake / "runs", manifest.run_id, single=True)
    except BadArtefact as error:
        return Check("run", "wrong", str(error))
    if folder is None or not folder.is_dir():
        return Check("run", "unknown", f"{manifest.run_id} is not in this lake")
    return run_check("run", folder, digests)


def _object(rows: Rows, name: str, digest: str) -> Check:
    try:
        actual = sha256_of(rows.file(name))
    except GradsieveError as error:
        return Check(name, "wrong", error.got)
    return Check(name, "ok", digest) if actual == digest else Check(name, "wrong", f"{actual}, expected {digest}")


def _identities(rows: Rows, manifest: Manifest) -> Check:
    payload = Payload.model_validate(manifest.payload)
    wrong = count = 0
    for part in manifest.parts:
        with pq.ParquetFile(rows.file(part.path)) as file:
            for batch in file.iter_batches(batch_size=4096, columns=["sample_id", *payload.own]):
                names = content_hashes([batch[name] for name in payload.own])
                # A copy's id is its content's with a number.
                wrong += sum(
                    sample_id.partition("-")[0] != name
                    for sample_id, name in zip(batch["sample_id"].to_pylist(), names, strict=True)
                )
                count += batch.num_rows
    if wrong:
        return Check("identities", "wrong", f"{wrong:,} of {count:,} ids are not those of their inputs")
    return Check("identities", "ok", f"{count:,} ids follow from their inputs")


def _members(rows: Rows, manifest: Manifest) -> Iterator[Check]:
    members = rows.members()
    digest = members_digest(members)
    by_split = dict(Counter(members["split"].to_pylist()))
    decided = Counter(rows.decisions["decision"].to_pylist())
    counts = members.num_rows, decided["remove"], decided["relabel"]
    stated = manifest.rows, manifest.removed, manifest.relabelled
    if (digest, by_split) != (manifest.members, manifest.splits):
        yield Check("members", "wrong", f"{by_split} {digest}, expected {manifest.splits} {manifest.members}")
    elif counts != stated:
        yield Check("members", "wrong", f"rows, removed, relabelled: {counts}, expected {stated}")
    else:
        yield Check("members", "ok", f"{members.num_rows:,} rows {digest}")
    content = manifest.rows_of
    if content.plain is None:
        return
    paths = [rows.file(f"{content.folder}/data/{file.name}") for file in content.plain]
    plain = pa.concat_tables([pq.read_table(path, columns=list(members.column_names)) for path in paths])
    same = members_digest(plain.sort_by("sample_id")) == manifest.members
    yield Check("plain", "ok" if same else "wrong", f"{plain.num_rows:,} rows, {'the same' if same else 'others'}")


def _decisions(rows: Rows, manifest: Manifest, lake: Path) -> Iterator[Check]:
    """Whether the run's flags still lead to what was decided by rule."""
    there = rows.decisions
    is_copy = pc.equal(there["rule"], COPIES_RULE)
    left_out, there = there.filter(is_copy), there.filter(pc.invert(is_copy))
    # What is wrong with the run's id has been said.
    if manifest.run_id is None or not is_name(manifest.run_id):
        return
    folder = inside(lake / "runs", manifest.run_id, single=True)
    copies = folder / "left_out.parquet"
    if left_out.num_rows and copies.is_file():
        same = decide_left_out(pq.read_table(copies)).select(_DECIDED).equals(left_out.select(_DECIDED))
        says = "follow" if same else "do not follow"
        yield Check("copies", "ok" if same else "wrong", f"{left_out.num_rows:,} left out {says} from the run's copies")
    paths = [folder / "flags.parquet", folder / "scores.parquet", *sorted((folder / "samples").glob("*.parquet"))]
    if not there.num_rows or not all(path.is_file() for path in paths):
        return
    flags, scores, *samples = paths
    rule = there["rule"][0].as_py()
    again = decide([flags], samples, [scores], manifest.remedy or "remove", rule, rows.scratch)
    same = again.select(_DECIDED).equals(there.select(_DECIDED))
    says = "follow" if same else "do not follow"
    yield Check("decisions", "ok" if same else "wrong", f"{there.num_rows:,} by rule {says} from the run's flags")
