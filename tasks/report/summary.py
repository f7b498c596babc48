"""What a run found, in words: the same for the terminal, the Prefect artifact and ``gradsieve show``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core.markdown import escape
from tasks.ingestion.tables.unused_columns import columns_by_reason, display_name
from tasks.pipeline.recorded_run import RecordedRun, lake_option
from tasks.report.data_lines import copy_lines, label_lines, neighbour_lines, weight_lines
from tasks.report.flag_lines import flag_lines
from tasks.report.network_lines import network_lines
from tasks.report.text_lines import reading_lines, serving_lines

# Inputs that a summary names; the view columns has all.
_SHOWN = 24


@dataclass(frozen=True)
class Summary:
    """A recorded run's facts."""

    facts: dict[str, Any]
    run_id: str
    dataset: str
    lake: Path

    @classmethod
    def read(cls, lake: Path, run_id: str) -> Summary:
        """The summary of a recorded run.

        Raises:
            BadInput: there is no such run.
        """
        record = RecordedRun.read(lake, run_id)
        return cls(facts=record.facts, run_id=run_id, dataset=record.dataset, lake=lake)

    @property
    def sections(self) -> list[tuple[str, list[str]]]:
        """(title, lines) in the order of the pipeline."""
        return [
            ("Ingested", self._samples_lines()),
            ("Flagged", self._flagged()),
            (f"Test {self.facts['metrics'].get('figure', 'accuracy')}, last epoch", self._accuracy()),
            ("Published", self._version_lines()),
            ("Ask", [self.command_of(self.sql)]),
        ]

    @property
    def lake_option(self) -> str:
        """What a command says to find the lake; nothing where it is the usual one."""
        return lake_option(self.lake)

    @property
    def sql(self) -> str:
        """The query that shows this run's flagged samples."""
        return (
            "SELECT sample_id, label, suggested_label, rank, reason FROM flags JOIN samples USING (run_id, sample_id) "
            f"WHERE flag AND run_id = '{self.run_id}' ORDER BY rank LIMIT 20"
        )

    def command_of(self, sql: str) -> str:
        """The command that puts a query of ours, which has no double quotes."""
        return f'gradsieve sql{self.lake_option} "{sql}"'

    def text(self) -> str:
        """Plain text, for a terminal or a log."""
        lines = [f"gradsieve: {self.dataset}, run {self.run_id}"]
        for title, body in self.sections:
            lines += ["", title, *(f"  {line}" for line in body)]
        return "\n".join(lines)

    def markdown(self) -> str:
        """Markdown, for the Prefect UI."""
        lines = [f"# {self.dataset}", f"Run `{self.run_id}`"]
        for title, body in self.sections:
            lines += [
                "",
                f"## {title}",
                *([f"```\n{body[0]}\n```"] if title == "Ask" else [f"- {escape(line)}" for line in body]),
            ]
        return "\n".join(lines)

    def _samples_lines(self) -> list[str]:
        facts = self.facts["samples"]
        splits = ", ".join(f"{n:,} {split}" for split, n in facts["splits"].items() if n)
        payload = facts["payload"]
        lines = [
            f"{sum(facts['splits'].values()):,} samples ({splits}) in {len(facts['classes'])} "
            f"{self.facts['flags'].get('strata', 'classes')}, "
            f"inputs {_input_format(payload)}{_columns(payload['columns'])}"
        ]
        lines += _inputs_lines(facts.get("inputs"), encoded="encoders" in payload)
        lines += facts.get("notes", [])
        lines += reading_lines(payload)
        lines += serving_lines(facts.get("target"), self.lake / "runs" / self.run_id / "config.yaml")
        lines += _unused_lines(facts.get("unused"))
        lines += weight_lines(facts)
        if facts.get("leaks"):
            names = ", ".join(map(display_name, facts["leaks"]))
            lines.append(
                f"tells the label by itself: {names}; leave it out (reader.features) if it is known only after it"
            )
        rejects = facts["rejects"]
        lines.append(
            f"{sum(rejects.values()):,} of {facts['rows_read']:,} rows rejected: "
            + ", ".join(f"{reason} {n:,}" for reason, n in rejects.items())
            if rejects
            else "no row rejected"
        )
        if facts.get("cut"):
            length = payload["shape"][-1]
            cut = f"{facts['cut']:,} texts are longer than {length} tokens and were cut"
            lines.append(f"{cut} (reader.tokens.max-length)")
        lines += copy_lines(facts, self.facts.get("copies"), self.facts.get("folds", {}).get("apart", 0))
        lines += label_lines(facts)
        lines += neighbour_lines(self.facts.get("votes"), self.facts.get("examination"))
        if facts["planted"]:
            lines.append(f"{facts['planted']:,} training labels flipped on purpose, to measure detection")
        lines += network_lines(self.facts.get("network"), payload)
        return lines + [_opinion_line(opinion) for opinion in self.facts.get("opinions", {}).get("opinions", [])]

    def _flagged(self) -> list[str]:
        facts = self.facts["flags"]
        lines = [*flag_lines(facts), *self._fusion()]
        lines += _review(facts.get("review"))
        lines += _drift(self.facts.get("drift"))
        detection = self.facts["metrics"]["detection"]
        flags = detection.get("flags")
        if flags:
            # A source that flips labels on purpose may hold others, which count as right here.
            kind, least = ("planted", "at least ") if self.facts["samples"]["planted"] else ("known", "")
            lines.append(
                f"{flags['found']:,} of them are among the {flags['wrong']:,} {kind} wrong labels (precision {least}"
                f"{_share(flags['found'], flags['flagged'])}, recall {_share(flags['found'], flags['wrong'])})"
            )
        for name, figures in detection.items():
            if name != "flags":
                lines.append(
                    f"{name}: average precision {figures['average_precision']:.3f}, ROC AUC {figures['roc_auc']:.3f}, "
                    f"{figures['recall_at_noise_rate']:.1%} of the wrong labels in a top share of their size"
                )
        return lines

    def _fusion(self) -> list[str]:
        about = self.facts["scores"].get("about", {}).get("fusion")
        if not about:
            return []
        weights = ", ".join(f"{name} {weight:.2f}" for name, weight in about["weights"].items())
        dropped = ", ".join(f"{name} ({reason})" for name, reason in about["dropped"].items())
        omission = f"; left out: {dropped}" if dropped else ""
        return [f"fusion: {weights}; concentration on few pairs of classes {about['concentration']:.2f}{omission}"]

    def _accuracy(self) -> list[str]:
        from tasks.proof.verdict import verdict_lines

        search = self.facts.get("search")
        lines = [f"budget {search['names'][0]}, chosen on the validation split in {_rounds(search)}"] if search else []
        return lines + verdict_lines(self.facts["metrics"])

    def _version_lines(self) -> list[str]:
        from tasks.report.version_views import publication_lines

        return publication_lines(self.lake, self.dataset, self.run_id)


def _rounds(search: dict[str, Any]) -> str:
    return f"{search['rung']} rounds" if search["rung"] > 1 else "one round"


def _review(review: dict[str, Any] | None) -> list[str]:
    """Who looked at the flagged, and what came of it."""
    if review is None:
        return []
    if review["decision"] == "nobody":
        return [f"nobody reviewed them within {review['hours']:g} hours"]
    words = {"approve": "approved", "reject": "rejected", "rows": f"decided row by row ({review['rows']:,})"}
    cap = "" if review["at_most"] is None else f", at most {review['at_most']:,}"
    note = f": {review['note']}" if review["note"] else ""
    return [f"{words[review['decision']]}{cap} by {review['reviewer']} at {review['at']}{note}"]


def _drift(drift: dict[str, Any] | None) -> list[str]:
    """How the samples that are new since the base compare; nothing of a run without one."""
    return [f"since the base: {drift['sentence']}"] if drift and drift["new"] else []


def _input_format(payload: dict[str, Any]) -> str:
    tokens = payload.get("tokens")
    if tokens:
        return f"text of at most {payload['shape'][-1]} tokens by {tokens['tokenizer']}"
    return f"{' × '.join(map(str, payload['shape']))} {payload['dtype']}"


def _columns(names: list[str]) -> str:
    """Which columns are the inputs: an id or a row number taken for one should meet the eye."""
    return f" ({', '.join(map(display_name, names[:8]))}{' …' if len(names) > 8 else ''})"


def _inputs_lines(inputs: list[dict[str, str]] | None, *, encoded: bool) -> list[str]:
    """How each column is read, where some is not simply numbers; nothing of a run that did not say."""
    if not inputs or not encoded:
        return []
    kinds = ", ".join(f"{display_name(row['column'])} ({row['kind']})" for row in inputs[:_SHOWN])
    more = f" and {len(inputs) - _SHOWN:,} more" if len(inputs) > _SHOWN else ""
    return [f"inputs: {kinds}{more}"]


def _unused_lines(columns: list[dict[str, str]] | None) -> list[str]:
    """Every column that no network reads, and why; nothing of a run that did not say."""
    return [f"not used: {columns_by_reason({row['column']: row['reason'] for row in columns})}"] if columns else []


def _opinion_line(opinion: dict[str, Any]) -> str:
    """Of whom an opinion from outside speaks, and what of its file did not count."""
    counts = {
        "held-out samples": opinion["held_out"],
        "ids that name no sample": opinion["unknown"],
        "empty rows": opinion["empty"],
        "rows normalised": opinion["normalised"],
    }
    notes = [f"{count:,} {what}" for what, count in counts.items() if count]
    notes += [f"columns not read: {', '.join(map(display_name, opinion['unused']))}"] if opinion["unused"] else []
    heard = f"{opinion['samples']:,} of {opinion['samples'] + opinion['silent']:,} training samples"
    return f"opinion {opinion['name']} speaks of {heard}{''.join(f'; {note}' for note in notes)}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def work_summary(stages: list[tuple[str, str]], run_id: str) -> str:
    """What this invocation computed, from (stage, run that made it) pairs."""
    fresh = [stage for stage, made_by in stages if made_by == run_id]
    if not fresh:
        return f"nothing recomputed: all {len(stages)} stage results are unchanged"
    reuse = len(stages) - len(fresh)
    counts = ", ".join(
        f"{stage} × {fresh.count(stage)}" if fresh.count(stage) > 1 else stage for stage in dict.fromkeys(fresh)
    )
    return f"recomputed {counts}; {reuse} of {len(stages)} stage results unchanged"
