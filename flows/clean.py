"""clean: from a source to a published version, read downward."""

from __future__ import annotations

from prefect import flow, unmapped

from tasks.artefacts import Run
from tasks.config import CleanConfig
from tasks.earlier import base_of
from tasks.extract import extract
from tasks.flag import flag
from tasks.index import index
from tasks.ingest import ingest
from tasks.plan import plan
from tasks.publish import publish
from tasks.record import record
from tasks.report import follow, report
from tasks.retrain import retrain
from tasks.score import score
from tasks.train import train
from tasks.verify import verify
from tasks.workers import workers


@flow(name="clean", flow_run_name="clean {config.name}")
def clean(config: CleanConfig = CleanConfig()) -> str:  # noqa: B008  frozen; Prefect shows it as the form's defaults
    """Find the training samples that hurt a model, prove it by retraining, publish the dataset without them.

    Args:
        config: what to clean and how; every field is described in the form.

    Returns:
        The summary, as text.
    """
    reader, model, gradient = config.reader.part, config.model.part, config.gradient.part
    detectors = [choice.part for choice in config.detectors]

    with Run.start(config.lake, config.name).logged() as run, workers(config.runner) as pool:
        base = base_of(run, config.base, config.name, model, config.training)
        samples = ingest(run, reader, config.ingestion)
        folds = plan(run, samples, config.folds, model, gradient, base)
        here, data, held_out, network, how, before = map(unmapped, (run, samples, folds, model, config.training, base))
        checkpoints = pool.map(train, here, data, held_out, list(range(config.folds)), network, how, before).result()
        shards = pool.map(
            extract,
            here,
            samples.shards("samples/train-", "payload", "classes"),
            held_out,
            unmapped(checkpoints),
            network,
            unmapped(gradient),
            how,
            before,
        )
        gradients = follow(shards, "Gradient shards extracted")
        scores = score(run, gradients, detectors)
        flags = flag(run, samples, gradients, scores, config.budget.part, config.flagging)
        arms, seeds = config.verification.pairs()
        trials = pool.map(retrain, here, data, unmapped(flags), arms, seeds, network, how).result()
        metrics = verify(run, samples, scores, flags, trials)
        version = publish(run, config.name, samples, flags, config.store.part)
        stages = [samples, folds, *checkpoints, *gradients, scores, flags, *trials, metrics]
        recorded = record(run, config.name, config.yaml(), stages, version)
        index(run, recorded)
        return report(run, recorded, [*stages, version])
