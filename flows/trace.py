"""trace: a recorded run → which of its training samples shaped the answers to its queries, read downward."""

from __future__ import annotations

from prefect import flow

from tasks import steps
from tasks.dataset.samples import split_of
from tasks.pipeline.artefacts import Run
from tasks.scoring.crossfit import CrossFit
from tasks.scoring.trace_config import TraceConfig


@flow(name="trace", flow_run_name="trace {config.run}")
def trace(config: TraceConfig = TraceConfig()) -> str:  # noqa: B008  frozen; Prefect shows it as the form's defaults
    """Name, for each query of a recorded run, the training samples that shaped its answer most.

    Args:
        config: Which run and how; every field is described in the form.

    Returns:
        How well the traces tell the queries' groups, where the table lies and how to ask it, as text.
    """
    source_run = config.recorded_run()
    with Run.start(config.lake, source_run.dataset) as run:
        (samples,) = source_run.of("samples")
        crossfit = CrossFit.of_run(run, source_run.run_id)
        traces = steps.trace(run, split_of(samples, "train", "validation"), crossfit, config.tracing)
        record = steps.record_traces(run, source_run.run_id, source_run.dataset, config.tracing, traces)
        steps.index(run, record)
        return steps.present_traces(run, record, [traces, record])
