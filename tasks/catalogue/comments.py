"""What every view and every column of the catalogue is, in a sentence each: COMMENT writes them into its file.

A column has one sentence for all views that share it. ``view.column`` stands for one view where the word means
something else there; ``view.*`` for columns that only a run or a dataset names.
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from tasks.catalogue.views import quote_name, string

VIEWS = {
    "runs": "A run of gradsieve clean, and what it found.",
    "samples": "A sample as it was ingested.",
    "rejects": "A row of the source that could not be used, and why.",
    "columns": "A column of a table's source, and what it is used for.",
    "copies": "A sample beside another with the same, or nearly the same, inputs.",
    "contradictions": "Of copies those whose labels differ, the surest first.",
    "gradients": "A training sample's gradient: its norms, and where it lies.",
    "checkpoints": "A network that a run kept.",
    "opinions": "What a model from outside says of a training sample.",
    "scores": "A training sample's suspicions, a column for each detector.",
    "flags": "A training sample's rank, whether it is flagged, and why.",
    "suspects": "What flags says, with label, source and row beside it.",
    "diagnoses": "What a run's data can carry, and what follows from it.",
    "drift": "New samples compared with the base's; one row a run.",
    "traces": "A gradsieve trace of a recorded run, and how it was made.",
    "traced": "A training sample that shaped an answer, by rank.",
    "reviews": "A random sample of a run that a person has answered.",
    "review_samples": "A sample that was drawn at random, and the answer.",
    "review_estimates": "A figure of a run by a person's answers, model or no model.",
    "audit": "What flagging does to a class or a group.",
    "examination": "What is thought of a validation or test label.",
    "search": "A training in a search for a budget.",
    "metrics": "Accuracy by arm and seed: of all, of a class or a group.",
    "comparisons": "A figure of gradsieve compare, over its repetitions.",
    "versions": "A published version of a dataset.",
    "decisions": "What was decided about a sample in a version, and why.",
    "removed": "A sample that a version leaves out, and why.",
    "tags": "Where a tag points now.",
    "tag_moves": "A move of a tag, with who, when and why.",
    "shards": "A training sample's gradient vector, of one run.",
    "data": "The newest run's samples; the dataset's own columns last.",
    "data@": "The rows of a version or tag; the dataset's own columns last.",
}

COLUMNS = {
    # ---- what identifies a row
    "run_id": "The run's name, as gradsieve runs shows it.",
    "dataset": "The dataset's name.",
    "sample_id": "Digest of the sample's inputs: its name in all runs.",
    "source": "File or source that the sample is from.",
    "source_row": "Number of its row in the source, from 0.",
    "source_id": "What the source calls the sample; null where it names none.",
    "split": "train, validation or test.",
    "label": "The given label.",
    "clean_label": "The true label, where it is known; no detector sees it.",
    "group_name": "Samples of a group stay in one fold; null without groups.",
    "data.*": "The dataset's own; original_NAME where gradsieve has a NAME.",
    "rejects.reason": "Why the row could not be used, in a word.",
    "detail": "Why, in a sentence.",
    "columns.name": "Name of the column, as the source has it.",
    "role": "input, label, id, group, split, index, text or carried.",
    "columns.kind": "What its values are: number, category, date and so on.",
    "distinct_values": "How many different values it has; null of lists.",
    "missing": "How many of its cells hold no value.",
    "why": "How it is read, or why it is no input.",
    "other_id": "The sample that is compared with.",
    "copies.kind": "exact, near, alike where most are near, or repeat in a table of few different rows.",
    "contradictions.kind": "exact, or near: the inputs are nearly the same.",
    "copies.distance": "0 of equal inputs; of near ones a share of what they are.",
    "contradictions.distance": "0 of equal inputs; of near ones a share of what they are.",
    "other_split": "Split of the other sample.",
    "other_label": "Label of the other sample.",
    # ---- gradients and networks
    "fold": "Fold whose network never saw the sample.",
    "checkpoints.fold": "Fold that the network was not trained on.",
    "epoch": "Epochs that the network was trained for.",
    "file": "Where it lies, in the run's folder.",
    "shard": "Arrow file that holds the vector, in the run's folder.",
    "loss": "Loss of the sample under its label.",
    "p_label": "Probability that the network gives the label.",
    "predicted": "What the network predicts.",
    "p_predicted": "Probability that the network gives its prediction.",
    "l1": "L1 norm of the gradient.",
    "l2": "L2 norm of the gradient.",
    "layer_norms": "L2 norm of the gradient, layer by layer.",
    "gradient": "The gradient.",
    "residual": "Factor of the gradient: predicted probabilities less label.",
    "features": "Factor of the gradient: what goes into the last layer.",
    "logits": "What the network puts out.",
    "opinion": "Name of the opinion: of its file, unless it was given one.",
    "opinions.predicted": "Class that it thinks likeliest.",
    "opinions.p_predicted": "Probability that it gives this class.",
    "probabilities": "Its probability of each class, in the run's order.",
    # ---- suspicion and decision
    "scores.*": "Suspicion by this detector: higher is more suspect.",
    "rank": "1 is the most suspect.",
    "suspicion": "By the detector that ranks: higher is more suspect.",
    "flag": "Whether it is within the budget and no guard keeps it.",
    "detector": "The detector that ranks.",
    "marked_by": "Detectors that mark the sample.",
    "reason": "Why, in a sentence.",
    "guard": "What keeps (rare, class_cap, group_cap) or lists it (rare).",
    "p_wrong": "Probability that the label is wrong; null where not known.",
    "subject": "What was diagnosed: network, unpredictability, rare classes.",
    "passed": "Whether the data can carry what is asked of them.",
    "text": "The finding, with the figures it rests on.",
    "suggested_label": "Label that is likelier.",
    "p_suggested": "Probability that the suggested label is right.",
    "decided_by": "Who decided: rule, or a person's name.",
    "flags.decided_by": "The person who decided; null: a rule did.",
    "suspects.decided_by": "The person who decided; null: a rule did.",
    "decided_at": "When it was decided.",
    "suspect": "Whether the label is more likely wrong than not.",
    "trace_id": "The trace's name, as gradsieve trace prints it.",
    "queries": "How many queries were traced.",
    "roc_auc": "How well traces tell a query's own group; null without groups.",
    "traces.recall": "Share of a query's group among as many on top.",
    "traces.options": "The options of the trace, as JSON.",
    "query_id": "The sample whose answer is traced.",
    "traced.rank": "1 shaped the answer most.",
    "influence": "How far it shaped the answer: positive made it likelier.",
    # ---- random samples that a person has answered
    "review_id": "The review's name, as gradsieve review prints it.",
    "reviewed_by": "Who answered.",
    "note": "What was to be remembered with the answers.",
    "drawn": "How many samples were drawn at random.",
    "answered": "How many of them were answered by right or wrong.",
    "not_known": "How many were answered by unknown; left out of the figures.",
    "unanswered": "How many were not answered; left out of the figures.",
    "reviews.recorded": "When the answers were recorded, UTC.",
    "review_estimates.recorded": "When the answers were recorded, UTC.",
    "probability": "How probably it was drawn; its weight is one over it.",
    "answer": "right, wrong or unknown, of the label; null: no answer.",
    "review_samples.new_label": "The label that the person gives; null where none.",
    "review_estimates.measure": "wrong_share of all, precision of the flagged, recall.",
    "estimate": "The figure, from 0 to 1; null where it cannot be told.",
    "review_estimates.low": "Lower end of the 95 % interval.",
    "review_estimates.high": "Upper end of the 95 % interval.",
    # ---- what flagging does
    "level": "class or group.",
    "metrics.level": "all, trusted (no suspect label), unseen (no copy), class, group.",
    "name": "Name of the class or group; empty of neither.",
    "audit.samples": "How many training samples it has.",
    "flagged": "How many samples are flagged.",
    "share_flagged": "Share of its samples that is flagged.",
    "share_overall": "Share of all samples that is flagged.",
    "lift": "Its share over the overall share: above 1 it loses more.",
    "capped": "How many a cap keeps.",
    "protected": "How many are kept as rare but valid.",
    "expected_wrong": "How many labels are expected to be wrong: the sum of p_wrong.",
    "most_suggested": "What its flagged samples are most often taken for.",
    "new_samples": "Samples that are new since the base.",
    "base_samples": "Samples that the base had as well.",
    "share_new": "Share of the new that is flagged.",
    "share_base": "Share of the base's that is flagged.",
    "distance": "Kolmogorov-Smirnov distance of their suspicions; null of few.",
    "p_value": "Its chance if both were of one distribution.",
    "alarm": "Whether the new have drifted.",
    "networks_of": "The run that trained the networks, where it is another.",
    # ---- proof
    "arm": "What was trained on: untouched, cleaned, random, relabelled.",
    "seed": "Seed of the training.",
    "trained_on": "How many samples were trained on.",
    "tested_on": "How many samples were tested on.",
    "accuracy": "Accuracy, from 0 to 1.",
    "calibration_error": "Expected calibration error; null of a class or group.",
    "rung": "Round of the search, from 1.",
    "budget": "The budget that was tried.",
    "kept": "Whether the budget went on to the next round.",
    "recorded": "When the run ended, UTC.",
    "verdict": "helps, harms or no evidence.",
    "verdict_json": "The verdict with its differences and intervals.",
    "train_samples": "How many training samples there are.",
    "test_samples": "How many test samples there are.",
    "rejected": "How many rows could not be used.",
    "accuracy_untouched": "Mean test accuracy over the seeds, trained on all.",
    "accuracy_cleaned": "The same without the flagged.",
    "accuracy_random": "The same without as many removed at random.",
    "accuracy_relabelled": "The same with the flagged relabelled.",
    "facts": "What each stage found.",
    "latest": "Whether it is its dataset's newest run.",
    "comparisons.detector": "The detector that is measured.",
    "comparisons.budget": "The budget that is measured; null of a detector alone.",
    "sees": "What the detector looks at beside the labels.",
    "measure": "What is measured.",
    "mean": "Mean over the repetitions.",
    "low": "Lower end of the 95 % interval; null of one repetition.",
    "high": "Upper end of the 95 % interval; null of one repetition.",
    "repetitions": "How often it was measured.",
    # ---- versions
    "version": "Version of the dataset, as v0002.",
    "number": "Number of the version, from 1.",
    "tags.number": "Number of the move, from 1.",
    "tag_moves.number": "Number of the move, from 1.",
    "tag_moves.version": "Version it points at from then on; null: it was taken away.",
    "kind": "ingested, cleaned or rollback.",
    "parent": "Version that it was made of.",
    "rollback_of": "Version whose rows a rollback has again.",
    "published": "When it was published, UTC.",
    "published_by": "Who made it: run, or a person's name.",
    "code": "Version of gradsieve that made it, and its commit.",
    "model": "Digest of the networks that the gradients were taken of.",
    "detectors": "Detectors that were asked.",
    "versions.budget": "The budget, with its options.",
    "remedy": "What became of the flagged: remove or relabel.",
    "config": "The run's configuration.",
    "versions.source": "Digest of the source files' names and bytes.",
    "samples": "Digest of the ingested samples.",
    "flags": "Digest of the flags.",
    "metrics": "Digest of the metrics.",
    "row_count": "How many rows it has.",
    "removed": "How many samples it leaves out.",
    "relabelled": "How many samples have another label in it.",
    "members": "Digest of the id, split and label of every row.",
    "content": "Digest of what decides the rows.",
    "tags": "Tags that point at it.",
    "tag": "The tag's name.",
    "moved_at": "When it was moved, UTC.",
    "moved_by": "Who moved it: run, or a person's name.",
    "decision": "keep, remove or relabel.",
    "old_label": "The label as it was given.",
    "new_label": "The label in the version, of a relabel.",
    "rule": "What decided: detector, budget and remedy; or copies.remove.",
    "scores": "What each detector said.",
    "signature": "Digest of the text of this file.",
}  # fmt: skip

# All other columns of such a view are a detector's or the dataset's, whatever they are called.
_OURS = {
    "scores": {"run_id", "sample_id"},
    "data": {"sample_id", "source", "source_row", "split", "label", "clean_label", "group_name", "source_id"},
}
# A comment takes a third of a millisecond, and a dataset has up to thousands of columns in each of its versions.
_MOST = 128


def comment_on(db: duckdb.DuckDBPyConnection) -> None:
    """Write down what all views and columns are; of a wide view the first 128 columns."""
    views = db.execute("SELECT database_name, schema_name, view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    columns = db.execute(
        """SELECT database_name, schema_name, table_name, column_name FROM duckdb_columns()
           WHERE NOT internal AND column_index <= $1""",
        [_MOST],
    ).fetchall()
    _write(db, [*views, *columns])


def comment_on_shards(db: duckdb.DuckDBPyConnection, columns: Iterable[str]) -> None:
    """The same of a run's shards alone: to ask DuckDB for their names looks through every view, at each connection."""
    shards = ("temp", "main", "shards")
    _write(db, [shards, *((*shards, column) for column in columns)])


def _write(db: duckdb.DuckDBPyConnection, names: Iterable[tuple[str, ...]]) -> None:
    comments = ((name, _of_column(*name[1:]) if name[3:] else _of_view(*name[1:])) for name in names)
    statements = (
        f"COMMENT ON {'COLUMN' if name[3:] else 'VIEW'} {'.'.join(map(quote_name, name))} IS {string(comment)};\n"
        for name, comment in comments
        if comment
    )
    # At once: each on its own would be flushed to the disk.
    db.execute("".join(("BEGIN;\n", *statements, "COMMIT;\n")))


def _of_view(schema: str, view: str) -> str | None:
    if schema == "data":
        return VIEWS["data@" if "@" in view else "data"]
    return VIEWS.get(view)


def _of_column(schema: str, view: str, column: str) -> str | None:
    view = "data" if schema == "data" else view
    open_ended = view in _OURS and column not in _OURS[view]
    return COLUMNS.get(f"{view}.{'*' if open_ended else column}", COLUMNS.get(column))
