"""compare: detectors and budgets against labels known to be wrong, read downward."""

from __future__ import annotations

from prefect import flow

from flows.cross_fitting import cross_fit, deal, views_of
from tasks import steps
from tasks.config import CompareConfig
from tasks.evaluation.truth import need_truth
from tasks.pipeline.artefacts import Run
from tasks.pipeline.workers import workers


@flow(name="compare", flow_run_name="compare {config.name}")
def compare(config: CompareConfig = CompareConfig()) -> str:  # noqa: B008  frozen; Prefect shows it as the form's defaults
    """Detectors and budgets against labels that are known to be wrong: one table and one plot.

    Args:
        config: What to compare on what; every field is described in the form.
    """
    with Run.start(config.lake, config.name, config.memory_gib) as run, workers(config.runner) as pool:
        samples = steps.ingest(run, config.reader.component, config.ingestion)
        need_truth(run, samples)
        views = views_of(run, config, samples)
        network, folds, votes = deal(run, config, views)
        stages, measures = [views.samples, views.copies, network, folds, votes], []
        for recipe, canaries in config.repetitions:
            crossfit = cross_fit(run, pool, config, views, (network, folds, votes), None, recipe, canaries)
            scores = steps.score(run, crossfit, config.detector_components)
            measures.append(steps.measure(run, crossfit, scores, config.budget_components))
            stages += [stage for stage in [*crossfit.stages, scores, measures[-1]] if stage not in stages]
        comparison = steps.tabulate(run, config.name, config.yaml(), measures)
        steps.index(run, comparison)
        return steps.present(run, comparison, [*stages, comparison])
