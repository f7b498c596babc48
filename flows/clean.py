"""clean: from a source to a published version, read downward."""

from __future__ import annotations

from prefect import flow

from flows.cross_fitting import cross_fit, deal, views_of
from flows.retraining import retrained
from flows.reviewing import decide
from tasks import steps
from tasks.config import CleanConfig
from tasks.decision.budget_search import Search
from tasks.decision.review import check_answerable
from tasks.pipeline.artefacts import Run, artefact_list
from tasks.pipeline.dataset_lock import DatasetLock
from tasks.pipeline.workers import workers
from tasks.training.base_run import WantedBase, base_for, payload_of_base
from tasks.versions.publication import history_of


@flow(name="clean", flow_run_name="clean {config.name}")
def clean(config: CleanConfig = CleanConfig()) -> str:  # noqa: B008  frozen; Prefect shows it as the form's defaults
    """Find the training samples that hurt a model, prove it by retraining, publish the dataset without them.

    Args:
        config: What to clean and how; every field is described in the form.
    """
    name, reader, recipe, tags = config.name, config.reader.component, config.recipe, config.promotion
    run = Run.start(config.lake, name, config.memory_gib)
    check_answerable(run.lake, config.review)
    with run, DatasetLock(run, name) as lock, workers(config.runner) as pool:
        history, wanted = history_of(run, config.store, name), WantedBase(config.base, name, reader)
        ingested = steps.ingest(run, reader, config.ingestion, payload_of_base(run, wanted))
        views = views_of(run, config, ingested)
        samples, copies = views.samples, views.copies
        base = base_for(run, wanted, samples, config.folds, recipe, config.drift)
        network, folds, votes = deal(run, config, views, base)
        crossfit = cross_fit(run, pool, config, views, (network, folds, votes), base, recipe, config.effective_canaries)
        models = crossfit.checkpoints
        audit = steps.audit_heldout_labels(run, views.inputs, views.compared, models, config.neighbours, recipe)
        scores = steps.score(run, crossfit, config.detector_components)
        candidates = [steps.flag(run, crossfit, scores, b, config.flagging) for b in config.budget_components]
        search, arm = Search(candidates=candidates), config.verification.treatment
        for rung in config.search.rungs:
            variants, seeds = search.pairs(rung)
            trials = retrained(run, pool, network, views.development, variants, arm, seeds, recipe, "validation")
            search = search.after(steps.halve(run, config.budget_names, search, trials, rung.number))
        flags, verification = decide(run, config, samples, crossfit, search.best, lock)
        drift = steps.drift(run, crossfit.plan.folds, scores, flags, config.drift) if base.facts["run"] else None
        arms, seeds = verification.pairs(flags.facts["flagged"])
        trials = retrained(run, pool, network, views.proof, flags, arms, seeds, recipe)
        metrics = steps.verify(run, samples, scores, flags, audit, trials, verification, copies)
        stages = artefact_list(
            samples, copies, network, crossfit.stages, audit, scores, search.rounds[-1:], flags, drift, trials, metrics
        )
        record = steps.record(run, name, config.yaml(), stages)
        version = steps.publish(run, record, history, ingested, models, scores, flags, metrics, reader, copies, tags)
        promotion = steps.promote(run, history, version, metrics, tags)
        steps.index(run, record)
        return steps.report(run, record, history, version, promotion, [*stages, version])
