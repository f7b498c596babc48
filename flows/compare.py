"""compare: detectors and budgets against labels known to be wrong, read downward."""

from __future__ import annotations

from prefect import flow, unmapped

from tasks.catalogue.index import index
from tasks.config import CompareConfig
from tasks.dataset.samples import observed_shards
from tasks.evaluation.measure import measure
from tasks.evaluation.present import present
from tasks.evaluation.tabulate import tabulate
from tasks.evaluation.truth import need_truth
from tasks.gradients.extract import extract
from tasks.ingestion.ingest import ingest
from tasks.pipeline.artefacts import Run
from tasks.pipeline.workers import workers
from tasks.planning.make_folds import plan
from tasks.planning.plant import plant
from tasks.planning.vote import vote
from tasks.report.report import follow
from tasks.scoring.score import score
from tasks.training.base_run import base_of
from tasks.training.train import train


@flow(name="compare", flow_run_name="compare {config.name}")
def compare(config: CompareConfig = CompareConfig()) -> str:  # noqa: B008  frozen; Prefect shows it as the form's defaults
    """Detectors and budgets against labels that are known to be wrong: one table and one plot.

    Args:
        config: What to compare on what; every field is described in the form.

    Returns:
        The tables, as text.
    """
    reader, model, gradient = config.reader.part, config.model.part, config.gradient.part

    with Run.start(config.lake, config.name).logged() as run, workers(config.runner) as pool:
        base = base_of(run, None, config.name)
        samples = ingest(run, reader, config.ingestion)
        need_truth(run, samples)
        folds = plan(run, samples, config.folds, model, gradient, base, ("train",))
        votes = vote(run, samples, config.neighbourhood, config.training.device, folds)
        stages, measures = [samples, folds, votes], []
        here, data, held_out, network, kind, before = map(unmapped, (run, samples, folds, model, gradient, base))
        each_fold, observed = list(range(config.folds)), observed_shards(samples)
        for name, training, planting in config.repetitions:
            canaries = plant(run, samples, folds, votes, planting, base)
            birds, how = unmapped(canaries), unmapped(training)
            checkpoints = pool.map(train, here, data, held_out, birds, each_fold, network, how, before).result()
            shards = pool.map(
                extract, here, observed, held_out, birds, unmapped(checkpoints), network, kind, how, before
            )
            gradients = follow(shards, f"Gradient shards extracted, {name}")
            evidence = (run, samples, folds, gradients, votes, checkpoints, canaries)
            scores = score(*evidence, config.parts)
            measures.append(measure(*evidence, scores, config.counting))
            stages += [canaries, *checkpoints, *gradients, scores, measures[-1]]
        compared = tabulate(run, config.name, config.yaml(), measures)
        index(run, compared)
        return present(run, compared, [*stages, compared])
