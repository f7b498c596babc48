"""trace: a recorded run → which of its training samples shaped the answers to its queries, read downward."""

from __future__ import annotations

from prefect import flow

from flows.cross_fitting import with_gradients_of
from flows.recorded_config import recorded_config
from tasks import steps
from tasks.dataset.samples import observed_shards, split_of
from tasks.pipeline.artefacts import Run
from tasks.scoring.crossfit import CrossFit
from tasks.scoring.trace_config import TraceConfig


@flow(name="trace", flow_run_name="trace {config.run}")
def trace(config: TraceConfig = TraceConfig()) -> str:  # noqa: B008  frozen; Prefect shows it as the form's defaults
    """Name, for each query of a recorded run, the training samples that shaped its answer most.

    The queries are the validation split, whose gradients the run has taken. Without one they are the test split, whose
    gradients are taken now, by the run's networks.

    Args:
        config: Which run and how; every field is described in the form.

    Returns:
        How well the traces tell the queries' groups, where the table lies and how to ask it, as text.
    """
    source_run = config.recorded_run()
    with Run.start(config.lake, source_run.dataset) as run:
        (samples,) = source_run.of("samples")
        crossfit = CrossFit.of_run(run, source_run.run_id)
        split = "validation" if observed_shards(samples, ("validation",)) else "test"
        if split == "test":
            crossfit = with_gradients_of(run, recorded_config(run.lake, source_run.run_id), samples, split, crossfit)
        traces = steps.trace(run, split_of(samples, "train", split), crossfit, config.tracing)
        record = steps.record_traces(run, source_run.run_id, source_run.dataset, config.tracing, traces)
        steps.index(run, record)
        return steps.present_traces(run, record, [traces, record])
