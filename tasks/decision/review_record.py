"""Answers to a random sample, kept beside the run: one whole, immutable folder a review."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from tasks.core.errors import BadArtefact
from tasks.decision.review_answers import REVIEW_ESTIMATES, counts_of, estimates_of
from tasks.decision.review_sample import ReviewSample
from tasks.pipeline.artefacts import MANIFEST, Artefact, File, Run
from tasks.pipeline.durable_files import sha256_of, whole_folder, write_durably
from tasks.pipeline.recorded_run import RecordedRun
from tasks.pipeline.stored_names import inside

REVIEW_FILE = "review.json"


class RecordedReview(BaseModel):
    """Who answered a random sample of which run, and how much of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    review_id: str
    run_id: str
    dataset: str
    recorded: str
    """When it was recorded, ISO 8601, UTC."""
    reviewed_by: str
    note: str
    drawn: int
    answered: int
    not_known: int
    unanswered: int

    def estimates(self, lake: Path) -> list[dict[str, Any]]:
        """The rows of ``REVIEW_ESTIMATES``."""
        folder = inside(lake / "review_answers", self.review_id, single=True)
        return pq.read_table(folder / "estimates.parquet").cast(REVIEW_ESTIMATES).to_pylist()

    @classmethod
    def newest(cls, lake: Path, run_id: str) -> RecordedReview | None:
        """Of a run, the one that was recorded last; None where nobody answered any."""
        found = [review for review in map(cls.of_file, _files(lake)) if review.run_id == run_id]
        return max(found, key=lambda review: (review.recorded, review.review_id), default=None)

    @classmethod
    def of_file(cls, path: Path) -> RecordedReview:
        """The review whose review.json this is.

        Raises:
            BadArtefact: it is damaged.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise BadArtefact(
                where=str(path),
                expected="a recorded review",
                got=f"{type(error).__name__}: {error}",
                do=f"Delete the folder {path.parent}, and hand the sheet in again with --sheet.",
            ) from error


def _files(lake: Path) -> list[Path]:
    return sorted((lake / "review_answers").glob(f"[!.]*/{REVIEW_FILE}"))


def record_review(
    lake: Path, recorded: RecordedRun, sample: ReviewSample, answers: pa.Table, by: str, note: str
) -> RecordedReview:
    """Write ``review_answers/<review id>/``: answers, estimates, who and when, the manifest.

    The same answers by the same person, handed in again, are the folder that is there.

    Args:
        lake: where.
        recorded: the run that was sampled.
        sample: what was drawn of it.
        answers: schema ``REVIEW_SAMPLES``.
        by: who answered.
        note: anything to be remembered with the answers.

    Raises:
        BadInput: nothing was answered.
    """
    tables = {"answers.parquet": answers, "estimates.parquet": estimates_of(sample, answers)}
    content = json.dumps([sample.name, answers.to_pylist(), by, note], sort_keys=True)
    review_id = f"{recorded.run_id}-review-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
    final = inside(lake / "review_answers", review_id, single=True)
    if (final / REVIEW_FILE).is_file():
        return RecordedReview.of_file(final / REVIEW_FILE)
    review = RecordedReview(
        review_id=review_id,
        run_id=recorded.run_id,
        dataset=recorded.dataset,
        recorded=datetime.now(UTC).isoformat(timespec="milliseconds"),
        reviewed_by=by,
        note=note,
        **counts_of(answers),
    )
    with whole_folder(final) as aside:
        files = tuple(_write(aside / name, table) for name, table in tables.items())
        artefact = Artefact(
            stage="review_answers",
            folder=str(final.relative_to(lake)),
            files=files,
            facts=review.model_dump(mode="json"),
            digest=review_id,
            made_by=review_id,
        )
        write_durably(aside / REVIEW_FILE, review.model_dump_json(indent=1))
        write_durably(aside / MANIFEST, artefact.model_dump_json(indent=1))
    line = {"run_id": review_id, "dataset": recorded.dataset, "state": "completed", "reviewed": recorded.run_id}
    Run(lake=lake, run_id=review_id).log(line)
    return review


def _write(path: Path, table: pa.Table) -> File:
    pq.write_table(table, path, compression="zstd")
    return File(name=path.name, rows=table.num_rows, size=path.stat().st_size, sha256=sha256_of(path))
