"""Progress of the retrainings says which of how many each one is."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.retraining import retrained
from tasks.dataset.samples import table_of
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers import Noise
from tasks.ingestion.readers.digits import Digits
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.schemas import FLAGS
from tasks.training.models.logistic import Logistic
from tasks.training.recipe import Recipe, Training

RECIPE = Recipe(model=Logistic(), training=Training(epochs=1, device="cpu"))
ARMS, SEEDS = ["untouched", "cleaned"] * 2, [0, 0, 1, 1]


class Plain:
    """Runs tasks one after the other, without Prefect."""

    def map(self, task, run, samples, stacks, recipe, split):
        return SimpleNamespace(result=lambda: [task.fn(run, samples, trials, recipe, split) for trials in stacks])


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> tuple[Run, Artefact, Artefact]:
    """(run, samples, flags on every fourth)."""
    run = Run.start(tmp_path_factory.mktemp("retraining"), "digits")
    samples = ingest.fn(run, Digits(limit=200, test_share=0.4, noise=Noise()), Ingestion())
    rows = table_of(run, samples, ["sample_id", "split"]).to_pylist()
    blank = dict.fromkeys(FLAGS.names) | {"suspicion": 0.0, "detector": "l2", "marked_by": [], "reason": "r"}
    flags = [
        blank | {"sample_id": row["sample_id"], "flag": i % 4 == 0, "rank": i + 1}
        for i, row in enumerate(row for row in rows if row["split"] == "train")
    ]
    with run.draft("flags") as draft:
        pq.write_table(pa.Table.from_pylist(flags, schema=FLAGS), draft.path("flags.parquet", len(flags)))
        return run, samples, draft.commit(flagged=len(flags[::4]))


def lines(digits, caplog, together: int, arms=ARMS, seeds=SEEDS) -> list[str]:
    run, samples, flags = digits
    network = SimpleNamespace(facts={"together": together})
    caplog.clear()
    with caplog.at_level(logging.INFO, "gradsieve"):
        made = retrained(run, Plain(), network, samples, flags, arms, seeds, RECIPE)  # type: ignore[arg-type]
    assert [(one.facts["arm"], one.facts["seed"]) for one in made] == list(zip(arms, seeds, strict=True))
    return [line for line in caplog.messages if line.startswith("retrain")]


def test_each_line_says_which_of_how_many_it_is(digits, caplog):
    assert lines(digits, caplog, together=1) == [
        "retrain untouched, seed 0 (1 of 4)",
        "retrain cleaned, seed 0 (2 of 4)",
        "retrain untouched, seed 1 (3 of 4)",
        "retrain cleaned, seed 1 (4 of 4)",
    ]


def test_a_line_of_several_networks_counts_networks_too_unless_it_is_of_all(digits, caplog):
    assert lines(digits, caplog, together=2) == [
        "retrain untouched, seed 0 (1 of 4) and 1 more",
        "retrain untouched, seed 1 (3 of 4) and 1 more",
    ]
    assert lines(digits, caplog, together=9) == ["retrain untouched, seed 0 and 3 more"]
    assert lines(digits, caplog, together=1, arms=["cleaned"], seeds=[0]) == ["retrain cleaned, seed 0"]
