"""One look at the network before any time is spent on it."""

from __future__ import annotations

import pytest

from tasks.core.errors import BadModel
from tasks.dataset.samples import split_of
from tasks.gradients.kinds.head import Head
from tasks.gradients.probe import probe
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.digits import Digits
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run
from tasks.training.models.cnn import Cnn
from tasks.training.models.logistic import Logistic
from tasks.training.recipe import Recipe, Training


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path, "probe")


def meaning(run, limit=60, **changed):
    samples = split_of(ingest.fn(run, Digits(limit=limit), Ingestion()))
    return samples.model_copy(update={"facts": samples.facts | changed})


def test_it_is_given_what_inputs_and_labels_are_and_no_row(run):
    assert meaning(run).files == ()
    assert meaning(run).digest == meaning(run, 80).digest


def test_it_counts_the_parameters_and_says_how_many_train_together(run):
    assert probe.fn(run, meaning(run), Recipe(model=Logistic(), training=Training()), Head()).facts == {
        "model": "logistic",
        "parameters": 64 * 10 + 10,
        "begins_trained": False,
        "weights": "",
        "together": 32,
    }


def test_a_network_that_does_not_fit_the_inputs_is_refused_before_anything_is_trained(run):
    flat = {"kind": "array", "columns": ["x"], "shape": [2], "dtype": "float32"}
    with pytest.raises(BadModel, match="model cnn"):
        probe.fn(run, meaning(run, payload=flat), Recipe(model=Cnn(), training=Training()), Head())
