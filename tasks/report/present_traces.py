"""present_traces: what was traced of a run → its summary as text, and as an artifact in the Prefect UI."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact

from tasks.core.markdown import escape
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import act
from tasks.report.summary import work_summary


@act("present traces")
def present_traces(run: Run, trace: Artefact, stages: list[Artefact]) -> str:
    """Say how well the traces tell the queries' groups, where they lie, how to ask them; returns the text."""
    work = work_summary([(stage.stage, stage.made_by) for stage in stages], run.run_id)
    lines, ask = summary(trace.facts, trace.rows), query_command(trace.facts, run.lake)
    bullets = "\n".join(f"- {escape(line)}" for line in lines)
    create_markdown_artifact(
        f"# {trace.facts['dataset']}\n\n{bullets}\n\n```\n{ask}\n```\n\n_{work}_",
        key="traces",
        description="Which training samples shaped the answers",
    )
    run.log(
        {
            "run_id": trace.made_by,
            "dataset": trace.facts["dataset"],
            "state": "completed",
            "traced": trace.facts["run_id"],
            "work": work,
        }
    )
    title = f"gradsieve: {trace.facts['dataset']}, trace {trace.made_by}"
    return "\n".join([title, "", "Traced", *(f"  {line}" for line in lines), "", "Ask", f"  {ask}", "", work])


def summary(facts: dict[str, Any], rows: int) -> list[str]:
    """What was traced of which run, how well it tells the queries' groups, and where it lies."""
    queries = facts["queries"]
    lines = [
        f"run {facts['run_id']}: the {rows // queries:,} samples that shaped the answer to each of {queries:,} queries"
    ]
    if facts.get("split") == "test":
        lines.append(
            "the queries are the test samples, for the run has no validation split: what is changed by these traces "
            "can no longer be measured on them"
        )
    if facts["roc_auc"] is None:
        lines.append("nothing says how well: no group names the samples of a query's own kind (reader.group)")
    else:
        lines.append(
            f"samples of the query's own group: ROC AUC {facts['roc_auc']:.3f}, {facts['recall']:.1%} of them among "
            "as many on top"
        )
    return [*lines, f"traces/{facts['trace_id']}/traced.parquet, and the view traced"]


def query_command(facts: dict[str, Any], lake: Path) -> str:
    """The command that shows the first of them, with the labels on both sides."""
    option = "" if lake == Path("data").resolve() else f" --lake {shlex.quote(str(lake))}"
    sql = (
        "SELECT query_id, q.label AS asked, rank, t.sample_id, s.label, influence FROM traced t "
        "JOIN samples s USING (run_id, sample_id) JOIN samples q ON q.run_id = t.run_id AND q.sample_id = query_id "
        f"WHERE trace_id = '{facts['trace_id']}' AND rank <= 3 ORDER BY query_id, rank"
    )
    return f'gradsieve sql "{sql}"{option}'
