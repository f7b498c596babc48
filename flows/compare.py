"""compare: detectors and budgets against labels known to be wrong, read downward."""

from __future__ import annotations

from prefect import flow

from flows.cross_fitting import cross_fit
from tasks import steps
from tasks.config import CompareConfig
from tasks.dataset.samples import check_splits, split_of
from tasks.evaluation.truth import need_truth
from tasks.pipeline.artefacts import Run, listed
from tasks.pipeline.recorded_run import reference
from tasks.pipeline.workers import workers
from tasks.planning.plan import Plan


@flow(name="compare", flow_run_name="compare {config.name}")
def compare(config: CompareConfig = CompareConfig()) -> str:  # noqa: B008  frozen; Prefect shows it as the form's defaults
    """Detectors and budgets against labels that are known to be wrong: one table and one plot.

    Args:
        config: What to compare on what; every field is described in the form.

    Returns:
        The tables, as text.
    """
    with Run.start(config.lake, config.name, config.memory_gib) as run, workers(config.runner) as pool:
        samples, base = steps.ingest(run, config.reader.component, config.ingestion), reference(run, None)
        check_splits(samples, ("train",))
        need_truth(run, samples)
        steps.probe(run, split_of(samples), config.model.component, config.gradient.component)
        known = split_of(samples, "train")
        folds = steps.make_folds(run, known, config.folds, base)
        votes = steps.vote(run, known, config.neighbours, config.training.device, folds)
        stages, measures = [samples, folds, votes], []
        for recipe, planting in config.repetitions:
            canaries = steps.plant(run, known, folds, votes, planting, base) if planting.share else None
            plan = Plan(base=base, folds=folds, canaries=canaries)
            crossfit = cross_fit(run, pool, samples, plan, votes, recipe, config.gradient.component)
            scores = steps.score(run, crossfit, config.detector_components)
            measures.append(steps.measure(run, crossfit, scores, config.counting))
            stages += listed(canaries, crossfit.checkpoints, crossfit.gradients, scores, measures[-1])
        compared = steps.tabulate(run, config.name, config.yaml(), measures)
        steps.index(run, compared)
        return steps.present(run, compared, [*stages, compared])
