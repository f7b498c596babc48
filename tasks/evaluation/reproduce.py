"""An experiment of the paper run by our flows, with the controls that the paper lacks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import BaseModel

from tasks.core.errors import BadArtefact
from tasks.core.progress import LOGGER
from tasks.evaluation.experiments import Experiment, Measure, ScaleName, Variant
from tasks.evaluation.reproduction import FIGURES, Figure, Reproduction, Row
from tasks.pipeline.recorded_run import RecordedRun
from tasks.pipeline.stored_names import inside

Flow = tuple[type[BaseModel], Callable[[Any], str]]
"""A flow's configuration, and the flow."""

# What compare calls the measures.
_MEASURE_NAMES = {
    "average_precision": "average_precision",
    "roc_auc": "roc_auc",
    "detection": "recall",
    "precision": "precision",
}
_TIMINGS = 3


def reproduce(
    experiment: Experiment,
    name: ScaleName,
    flows: dict[str, Flow],
    lake: Path,
    folders: dict[str, Path],
    seeds: int | None,
) -> Reproduction:
    """Run every variant as often as its scale says, or ``seeds`` times, and lay the figures beside the paper's.

    Args:
        experiment: which.
        name: of the scale.
        flows: by name: those an experiment may name, and trace.
        lake: the runs' own.
        folders: of the data.
        seeds: repetitions, if not as many as the scale says.
    """
    scale, began = experiment.scale(name), time.monotonic()
    rows, bench = _of_paper(experiment), Bench(f"{experiment.name}-{name}", flows, lake)
    for variant in scale.variants:
        rows += _of_variant(experiment, name, variant, bench, folders, seeds or scale.seeds)
    return Reproduction(
        experiment=experiment.name,
        title=experiment.title,
        scale=name,
        paper=experiment.paper.source,
        protocol=experiment.paper.protocol,
        data=scale.data,
        differs=scale.differs,
        recorded=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=time.monotonic() - began,
        rows=rows,
    )


def _of_paper(experiment: Experiment) -> list[Row]:
    rows = []
    for row in experiment.paper.rows:
        said = dict(row.figures) | {"untouched": row.untouched}
        figures = {name: Figure(mean=value) for name, value in said.items() if value is not None}
        epoch = experiment.paper.epoch if "accuracy" in figures else "–"
        rows.append(Row(set=row.set, method=row.method, source="paper", epoch=epoch, seeds=None, figures=figures))
    return rows


class Bench:
    """Where an experiment's flows run, each once for one configuration: what several variants share is run once.

    Args:
        dataset: under which the runs are filed.
        flows: by name.
        lake: the runs' own.
    """

    def __init__(self, dataset: str, flows: dict[str, Flow], lake: Path) -> None:
        self.dataset, self.flows, self.lake = dataset, flows, lake
        self._runs: dict[str, str] = {}

    def config(self, flow: str, options: dict[str, Any]) -> Any:
        """A flow's configuration, in this lake."""
        return self.flows[flow][0].model_validate({"dataset": self.dataset} | options | {"lake": str(self.lake)})

    def run(self, flow: str, config: BaseModel) -> str:
        """The id of the flow's run by ``config``."""
        key = f"{flow} {config.model_dump_json()}"
        if key not in self._runs:
            self._runs[key] = _run(self.flows[flow][1], config, self.lake, self.dataset)
        return self._runs[key]


def _of_variant(
    experiment: Experiment,
    name: ScaleName,
    variant: Variant,
    bench: Bench,
    folders: dict[str, Path],
    repetitions: int,
) -> list[Row]:
    """The variant's row; where seconds are asked for, one more for each of its detectors."""
    runs: list[str] = []
    figures_by_method: dict[str, list[dict[str, float]]] = {variant.method: []}
    scale, lake = experiment.scale(name), bench.lake
    for i in range(1, repetitions + 1):
        of = f" on {variant.set}" if variant.set else ""
        LOGGER.info("reproduce %s: %s%s, %d of %d", experiment.name, variant.method, of, i, repetitions)
        config = bench.config(experiment.flow, scale.parameters_of(variant, i, folders))
        run_id = bench.run(experiment.flow, config)
        runs.append(run_id)
        figures_of = _comparison_figures if experiment.flow == "compare" else _clean_figures
        figures = figures_of(lake, run_id, experiment.measures)
        trace_options = scale.tracing_of(variant)
        if trace_options is not None:
            trace_id = bench.run("trace", bench.config("trace", trace_options | {"run": run_id}))
            figures |= _trace_figures(lake, trace_id, experiment.measures)
        figures_by_method[variant.method].append(figures)
        if "seconds" in experiment.measures:
            for detector, figures in _seconds(lake, run_id, config).items():
                figures_by_method.setdefault(detector, []).append(figures)
    rows = []
    for method, several in figures_by_method.items():
        names = [figure for figure in FIGURES if any(figure in one for one in several)]
        means = {figure: Figure.of(one[figure] for one in several if figure in one) for figure in names}
        rows.append(
            Row(
                set=variant.set,
                method=method,
                source=f"ours, {name}",
                epoch="last",
                seeds=repetitions,
                figures=means,
                runs=runs,
            )
        )
    return rows


def _run(flow: Callable[[Any], str], config: BaseModel, lake: Path, dataset: str) -> str:
    """Run the flow; the id of its run, as it stands in the lake's log.

    Raises:
        BadArtefact: nothing was entered there.
    """
    log = lake / "log.jsonl"
    before = log.stat().st_size if log.exists() else 0
    text = flow(config)
    with log.open(encoding="utf-8") as file:
        file.seek(before)
        lines = [json.loads(line) for line in file]
    # Another process may work on the same experiment in the same lake: the flow's words tell whose run is whose.
    run_ids = [line["run_id"] for line in lines if line["state"] == "completed" and line["run_id"] in text]
    if not run_ids:
        raise BadArtefact(
            where=str(log), expected=f"a completed run of {dataset}", got="none", do="Look at the log, and run again."
        )
    return run_ids[-1]


def _clean_figures(lake: Path, run_id: str, measures: list[Measure]) -> dict[str, float]:
    """What a run of clean found, in per cent."""
    facts = RecordedRun.read(lake, run_id).facts
    accuracy, detection = facts["metrics"]["accuracy"], facts["metrics"]["detection"]
    figures = {"removed": float(facts["flags"]["flagged"])}
    if detection:
        flags, ranking = detection["flags"], detection[facts["flags"]["detector"]]
        rates = {
            "detection": 100 * flags["found"] / flags["wrong"],
            "average_precision": 100 * ranking["average_precision"],
            "roc_auc": 100 * ranking["roc_auc"],
        }
        if flags["flagged"]:
            rates["precision"] = 100 * flags["found"] / flags["flagged"]
        figures |= {name: value for name, value in rates.items() if name in measures}
    if "accuracy" not in measures:
        return figures
    treatment = 100 * accuracy[facts["metrics"]["verdict"]["arm"]]
    controls = {name: 100 * accuracy[name] for name in ("untouched", "random")}
    return (
        figures
        | {"accuracy": treatment}
        | controls
        | {f"over_{name}": treatment - was for name, was in controls.items()}
    )


def _trace_figures(lake: Path, trace_id: str, measures: list[Measure]) -> dict[str, float]:
    """How well a trace tells the queries' groups, in per cent; nothing of queries without any."""
    summary = json.loads((inside(lake / "traces", trace_id, single=True) / "trace.json").read_text(encoding="utf-8"))
    rates = {f"query_{name}": summary[name] for name in ("roc_auc", "recall") if summary[name] is not None}
    return {name: 100 * value for name, value in rates.items() if name in measures}


def _comparison_figures(lake: Path, run_id: str, measures: list[Measure]) -> dict[str, float]:
    """What a run of compare measured of its first detector, and its first budget, in per cent."""
    import pyarrow.parquet as pq

    rows = pq.read_table(inside(lake / "comparisons", run_id, single=True) / "comparison.parquet").to_pylist()
    detector = rows[0]["detector"]
    budget = next((row["budget"] for row in rows if row["budget"]), None)
    mine = {
        row["measure"]: row["mean"] for row in rows if row["detector"] == detector and row["budget"] in (None, budget)
    }
    return {name: 100 * mine[_MEASURE_NAMES[name]] for name in measures if _MEASURE_NAMES.get(name) in mine}


def _seconds(lake: Path, run_id: str, config: BaseModel) -> dict[str, dict[str, float]]:
    """Seconds each detector of a recorded run takes from its shards to its scores, and how many times those of l2.

    The median of three, each on evidence that has read nothing yet.
    """
    from tasks.pipeline.artefacts import Run
    from tasks.scoring.crossfit import CrossFit
    from tasks.scoring.evidence import Evidence

    run = Run(lake=lake, run_id=run_id, memory_gib=cast("Any", config).memory_gib)
    crossfit = CrossFit.of_run(run, run_id)
    seconds = {}
    for detector in cast("Any", config).detector_components:
        several = []
        for _ in range(_TIMINGS):
            evidence = Evidence(run, crossfit)
            began = time.perf_counter()
            evidence.score(detector)
            several.append(time.perf_counter() - began)
        seconds[detector.name] = float(np.median(several))
    unit = seconds.get("l2")
    return {
        name: {"seconds": value} | ({"seconds_over_l2": value / unit} if unit else {})
        for name, value in seconds.items()
    }
