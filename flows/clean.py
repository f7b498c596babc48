"""clean: from a source to a published version, read downward."""

from __future__ import annotations

from prefect import flow, unmapped

from tasks.catalogue.index import index
from tasks.config import CleanConfig
from tasks.dataset.samples import observed_shards
from tasks.decision.budget_search import chosen, contenders
from tasks.decision.drift import drift
from tasks.decision.flag import flag
from tasks.decision.halve import halve
from tasks.decision.review import reviewed
from tasks.gradients.extract import extract
from tasks.ingestion.ingest import ingest
from tasks.pipeline.artefacts import Run
from tasks.pipeline.dataset_lock import Turn
from tasks.pipeline.record import record
from tasks.pipeline.workers import workers
from tasks.planning.make_folds import plan
from tasks.planning.plant import plant
from tasks.planning.vote import vote
from tasks.proof.examine import examine
from tasks.proof.retrain import retrain
from tasks.proof.verify import verify
from tasks.report.report import follow, report
from tasks.scoring.score import score
from tasks.scoring.trace import trace
from tasks.training.base_run import base_for
from tasks.training.train import train
from tasks.versions.promote import promote
from tasks.versions.publication import history_of
from tasks.versions.publish import publish


@flow(name="clean", flow_run_name="clean {config.name}")
def clean(config: CleanConfig = CleanConfig()) -> str:  # noqa: B008  frozen; Prefect shows it as the form's defaults
    """Find the training samples that hurt a model, prove it by retraining, publish the dataset without them.

    Args:
        config: What to clean and how; every field is described in the form.

    Returns:
        The summary, as text.
    """
    reader, model, gradient, store = config.reader.part, config.model.part, config.gradient.part, config.store.part

    run = Run.start(config.lake, config.name)
    with run.logged(), Turn(run, config.name) as turn, workers(config.runner) as pool:
        history = history_of(run, store, config.name)
        samples = ingest(run, reader, config.ingestion)
        base = base_for(run, config.base, config.name, samples, config.folds, model, config.training, config.drifting)
        folds = plan(run, samples, config.folds, model, gradient, base, config.splits)
        votes = vote(run, samples, config.neighbourhood, config.training.device, folds)
        canaries = plant(run, samples, folds, votes, config.planting, base)
        here, data, held_out, birds, network, kind, how, before = map(
            unmapped, (run, samples, folds, canaries, model, gradient, config.training, base)
        )
        each_fold = list(range(config.folds))
        checkpoints = pool.map(train, here, data, held_out, birds, each_fold, network, how, before).result()
        examination = examine(run, samples, checkpoints, config.neighbourhood, model, config.training)
        shards = pool.map(
            extract, here, observed_shards(samples), held_out, birds, unmapped(checkpoints), network, kind, how, before
        )
        gradients = follow(shards, "Gradient shards extracted")
        evidence = (run, samples, folds, gradients, votes, checkpoints, canaries)
        scores = score(*evidence, config.parts)
        traced = trace(*evidence, config.tracing)
        candidates = [flag(*evidence, scores, budget, config.flagging) for budget in config.counting]
        search, arm, split = [], unmapped(config.verification.treated), unmapped("validation")
        for rung in config.search.rungs:
            tried, seeds = contenders(candidates, rung, search)
            trials = pool.map(retrain, here, data, tried, arm, seeds, network, how, split).result()
            search.append(halve(run, config.counted, candidates, trials, rung.number, search))
        flags = reviewed(run, samples, chosen(candidates, search), config.review, turn)
        drifted = drift(run, folds, scores, flags, config.drifting)
        arms, seeds = config.verification.pairs(flags.facts["flagged"])
        trials = pool.map(retrain, here, data, unmapped(flags), arms, seeds, network, how).result()
        metrics = verify(run, samples, scores, flags, examination, trials, config.verification)
        seen = [
            samples,
            folds,
            votes,
            canaries,
            *checkpoints,
            examination,
            *gradients,
            scores,
            *search[-1:],
            flags,
            drifted,
            traced,
        ]
        stages = [*seen, *trials, metrics]
        recorded = record(run, config.name, config.yaml(), stages)
        version = publish(run, recorded, history, samples, checkpoints, scores, flags, metrics, reader, store)
        promotion = promote(run, history, version, metrics)
        index(run, recorded)
        return report(run, recorded, history, version, promotion, [*stages, version])
