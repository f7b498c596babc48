"""A random sample of a recorded run's training samples, to be answered by a person.

    <lake>/reviews/<run id>-sample-<size>/sample.csv, sample.parquet    the sheet, to be answered and handed in
    <lake>/reviews/<run id>-sample-<size>/label_studio.json             the same as tasks for Label Studio
    <lake>/reviews/<run id>-sample-<size>/draws.parquet                 how probably each was drawn; not to be edited
    <lake>/reviews/<run id>-sample-<size>/manifest.json                 its digest, by which it is known if it was

The sheet does not say what the run thinks of a sample: whoever knows it confirms it too easily. The order of its rows
is drawn as well, so that whoever stops early has answered a random part.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.errors import BadArtefact, BadInput
from tasks.decision.review_sheet import write_forms
from tasks.kernels.survey_sampling import falling_sizes, inclusion_probabilities, systematic_sample
from tasks.pipeline.artefacts import MANIFEST, Artefact, File, Run
from tasks.pipeline.durable_files import sha256_of, whole_folder, write_durably
from tasks.pipeline.recorded_run import RecordedRun
from tasks.pipeline.schemas import SUSPECTS
from tasks.pipeline.stored_names import inside, is_name

DRAWS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("flag", pa.bool_(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("group", pa.string()),
        pa.field("source_id", pa.string()),
    ]
)
# The sheet; decision and new_label are what is edited, and review says which sample these rows are.
SHEET = ("decision", "new_label", "label", "inputs", "source", "row", "group", "source_id", "sample_id", "review")


class ReviewSample(NamedTuple):
    """Which training samples were drawn, out of how many."""

    name: str
    """Of its folder."""
    run_id: str
    table: pa.Table
    """Schema ``DRAWS``, in the order of the sheet."""
    flagged: int
    """Flagged training samples of the run."""
    others: int
    """All its other training samples."""

    @property
    def flagged_draws(self) -> int:
        """How many of the flagged were drawn."""
        return pc.sum(self.table["flag"]).as_py()


def draw_sample(flags: pa.Table, size: int, name: str) -> pa.Table:
    """``size`` training samples, half of them among the flagged where there are as many.

    Each of the flagged is as likely to be drawn as another; of the rest the more suspect are likelier
    (``falling_sizes``). Both parts have a fixed number of samples, and every sample has a chance.

    Args:
        flags: schema ``SUSPECTS``, every training sample.
        size: at most as many as there are.
        name: of the sample; the same name draws the same.

    Returns:
        Schema ``DRAWS``, in an order that is drawn too.
    """
    generator = np.random.default_rng(np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32))
    flags = flags.sort_by("rank")
    suspects, others = flags.filter(flags["flag"]), flags.filter(pc.invert(flags["flag"]))
    count = min(size - min(len(suspects), size // 2), len(others))
    parts = ((suspects, np.ones(len(suspects)), size - count), (others, falling_sizes(len(others)), count))
    draws = []
    for table, sizes, number in parts:
        probabilities = inclusion_probabilities(sizes, number)
        indices = systematic_sample(probabilities, generator.random())
        draws.append(table.take(pa.array(indices)).append_column("probability", pa.array(probabilities[indices])))
    together = pa.concat_tables(draws).select(DRAWS.names).cast(DRAWS)
    return together.take(pa.array(generator.permutation(together.num_rows)))


def write_sample(
    lake: Path, recorded: RecordedRun, size: int, inputs_of: Callable[[list[str]], dict[str, str]]
) -> tuple[ReviewSample, Path]:
    """Draw a sample of a recorded run and put its sheet down; (the sample, the CSV's place).

    The same size again is the sample that is there, with its sheet as it was edited. Of fewer training samples than
    ``size`` all are drawn.

    Args:
        lake: of the run.
        recorded: the run.
        size: of the sample.
        inputs_of: sample ids → what a person sees of each, as text.

    Raises:
        BadArtefact: the run's flags are gone, or of an older version.
    """
    flags = _flags_of(lake, recorded)
    size = min(size, flags.num_rows)
    name = f"{recorded.run_id}-sample-{size}"
    home = inside(lake / "reviews", name, single=True)
    if not home.is_dir():
        _keep(home, draw_sample(flags, size, name), recorded.run_id)
    sample = read_sample(lake, recorded, name)
    sheet = home / "sample.csv"
    if not sheet.exists():
        table = _blank_sheet(sample, inputs_of(sample.table["sample_id"].to_pylist()))
        write_forms(sheet, table, [{"data": row} for row in table.to_pylist()])
    return sample, sheet


def _blank_sheet(sample: ReviewSample, inputs: dict[str, str]) -> pa.Table:
    """Columns ``SHEET``, without any answer."""
    count = sample.table.num_rows
    said = pa.array([inputs.get(name, "") for name in sample.table["sample_id"].to_pylist()], pa.string())
    table = sample.table.append_column("review", pa.array([sample.name] * count, pa.string()))
    table = table.append_column("inputs", said)
    for name in ("decision", "new_label"):
        table = table.append_column(name, pa.nulls(count, pa.string()))
    return table.select(SHEET)


def _flags_of(lake: Path, recorded: RecordedRun) -> pa.Table:
    (flags,) = recorded.of("flags")
    path = Run(lake=lake, run_id=recorded.run_id).path(flags)
    table = pq.read_table(path)
    missing = [name for name in SUSPECTS.names if name not in table.column_names]
    if missing:
        raise BadArtefact(
            where=str(path),
            expected=f"flags with the columns {', '.join(missing)}",
            got="those of an older version",
            do="Draw from a newer run: gradsieve clean records one.",
        )
    return table


def _keep(final: Path, draws: pa.Table, run_id: str) -> None:
    """The sample's folder, whole: the table, and the manifest with its digest."""
    with whole_folder(final) as aside:
        path = aside / "draws.parquet"
        pq.write_table(draws, path)
        digest = sha256_of(path)
        file = File(name=path.name, rows=draws.num_rows, size=path.stat().st_size, sha256=digest)
        artefact = Artefact(stage="draws", folder="", files=(file,), facts={}, digest=digest, made_by=run_id)
        write_durably(aside / MANIFEST, artefact.model_dump_json(indent=1))


def read_sample(lake: Path, recorded: RecordedRun, name: str) -> ReviewSample:
    """A sample that was drawn of this run.

    Raises:
        BadInput: there is none of that name.
        BadArtefact: it was altered since it was drawn: its probabilities are what the estimates stand on.
    """
    if not is_name(name) or not name.startswith(f"{recorded.run_id}-sample-"):
        raise _no_sample(lake, recorded, name)
    home = inside(lake / "reviews", name, single=True)
    if not (home / MANIFEST).is_file():
        raise _no_sample(lake, recorded, name)
    (file,) = Artefact.model_validate_json((home / MANIFEST).read_bytes()).files
    path = home / "draws.parquet"
    digest = sha256_of(path) if path.is_file() else "no such file"
    if digest != file.sha256:
        raise BadArtefact(
            where=str(path),
            expected=f"the probabilities as they were drawn, {file.sha256[:12]}",
            got=digest[:12],
            do=f"Move your sheet away, delete {home} and draw again with --sample: the same samples are drawn.",
        )
    flags = _flags_of(lake, recorded)["flag"]
    flagged = pc.sum(flags).as_py() or 0
    return ReviewSample(name, recorded.run_id, pq.read_table(path).cast(DRAWS), flagged, len(flags) - flagged)


def _no_sample(lake: Path, recorded: RecordedRun, name: str) -> BadInput:
    return BadInput(
        where=str(lake / "reviews"),
        expected=f"a sample drawn of run {recorded.run_id}",
        got=repr(name),
        do=f"gradsieve review {recorded.run_id} --sample 100 draws one and names its sheet.",
    )
