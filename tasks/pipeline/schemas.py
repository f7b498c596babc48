"""The pyarrow schemas that steps agree on. ``sample_id`` is column 0 of every table about samples."""

from __future__ import annotations

import pyarrow as pa

SPLITS = ("train", "validation", "test")

# What sources call them, in lower case.
SPLIT_NAMES: dict[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
}

# Columns of a samples table that are ours; the dataset's own columns (the payload) follow them.
SAMPLES = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("clean_label", pa.string()),
        pa.field("group", pa.string()),
        pa.field("source_id", pa.string()),
    ]
)

REJECTS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)

FOLDS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("fold", pa.int16(), nullable=False),
        # Not among the samples, or not under this label, of the run whose networks these are.
        pa.field("new", pa.bool_(), nullable=False),
    ]
)

# The scalars of a gradient shard; they stand in the Arrow shard and, for bare DuckDB, in a Parquet file beside it.
GRADIENTS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("fold", pa.int16(), nullable=False),
        pa.field("loss", pa.float32(), nullable=False),
        pa.field("p_label", pa.float32(), nullable=False),
        pa.field("predicted", pa.string(), nullable=False),
        pa.field("p_predicted", pa.float32(), nullable=False),
        pa.field("l1", pa.float32(), nullable=False),
        pa.field("l2", pa.float32(), nullable=False),
    ]
)

# Whether samples that are new since the base are like those before them; one row a run.
DRIFT = pa.schema(
    [
        pa.field("detector", pa.string(), nullable=False),
        pa.field("new", pa.int64(), nullable=False),
        pa.field("settled", pa.int64(), nullable=False),
        pa.field("share_new", pa.float64()),
        pa.field("share_settled", pa.float64()),
        pa.field("distance", pa.float64()),
        pa.field("p_value", pa.float64()),
        pa.field("alarm", pa.bool_(), nullable=False),
        pa.field("networks_of", pa.string()),  # the run that trained them, where it is another
    ]
)

# Of each query, the training samples that shaped its answer most; rank 1 is the first, positive made it likelier.
# Along neighbours the influence is a pair's share in those of the query's nearest, at least −1e-6.
TRACES = pa.schema(
    [
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),
        pa.field("influence", pa.float32(), nullable=False),
    ]
)

# What one fold's training saw of each sample it was trained on; means over steps.
DYNAMICS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("fold", pa.int16(), nullable=False),
        pa.field("planted", pa.bool_(), nullable=False),
        pa.field("label", pa.string(), nullable=False),  # as trained under
        pa.field("aum", pa.float32(), nullable=False),
        pa.field("mean_loss", pa.float32(), nullable=False),
        pa.field("el2n", pa.float32(), nullable=False),
        pa.field("sei", pa.float32(), nullable=False),
    ]
)

FLAGS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("flag", pa.bool_(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),
        pa.field("suspicion", pa.float64(), nullable=False),
        pa.field("detector", pa.string(), nullable=False),
        pa.field("marked_by", pa.list_(pa.string()), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        # What kept it though its rank is within the budget: rare, class_cap or group_cap; also rare where flagged.
        pa.field("guard", pa.string()),
        pa.field("p_wrong", pa.float64()),
        pa.field("suggested_label", pa.string()),
        pa.field("p_suggested", pa.float64()),
        # Of whom a person has decided; null: by rule, when the run did.
        pa.field("decided_by", pa.string()),
        pa.field("decided_at", pa.timestamp("us")),
    ]
)

# The file itself: beside each flag what identifies the sample to a person, without a join; the view flags lacks it.
SUSPECTS = pa.schema(
    [
        *FLAGS,
        pa.field("label", pa.string()),
        pa.field("source", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("group", pa.string()),
        pa.field("source_id", pa.string()),
    ]
)

# What flagging does to each class and each group; by is "class" or "group".
AUDIT = pa.schema(
    [
        pa.field("by", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("samples", pa.int64(), nullable=False),
        pa.field("flagged", pa.int64(), nullable=False),
        pa.field("share_flagged", pa.float64(), nullable=False),
        pa.field("share_overall", pa.float64(), nullable=False),
        pa.field("lift", pa.float64()),
        pa.field("capped", pa.int64(), nullable=False),
        pa.field("protected", pa.int64(), nullable=False),
        pa.field("expected_wrong", pa.float64()),
        pa.field("most_suggested", pa.string()),
    ]
)

# What becomes of a sample in a version, and why. Null decided_at: when the version was published.
DECISIONS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),  # keep, remove or relabel
        pa.field("old_label", pa.string(), nullable=False),
        pa.field("new_label", pa.string()),  # of a relabel
        pa.field("reason", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("rank", pa.int64()),
        pa.field("suspicion", pa.float64()),
        pa.field("scores", pa.map_(pa.string(), pa.float64())),
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("source_id", pa.string()),
        pa.field("split", pa.string(), nullable=False),
        pa.field("decided_by", pa.string(), nullable=False),  # rule, or a person's name
        pa.field("decided_at", pa.timestamp("us")),
    ]
)

PREDICTIONS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("predicted", pa.string(), nullable=False),
        pa.field("p_predicted", pa.float32(), nullable=False),
    ]
)

# Of every arm under every seed; by is "all", "trusted" (no suspect label), "unseen" (no copy), "usual" (without the few
# labels that the figure hangs on), "class" or "group".
METRICS = pa.schema(
    [
        pa.field("arm", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("by", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),  # of the class or group, else empty
        pa.field("trained_on", pa.int64(), nullable=False),
        pa.field("tested_on", pa.int64(), nullable=False),
        pa.field("accuracy", pa.float64(), nullable=False),
        pa.field("calibration_error", pa.float64()),  # of a class or group alone it would say little
    ]
)

# What is thought of the labels of the held-out splits themselves.
EXAMINATION = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("predicted", pa.string(), nullable=False),
        pa.field("p_label", pa.float64(), nullable=False),
        pa.field("p_predicted", pa.float64(), nullable=False),
        pa.field("p_wrong", pa.float64()),
        pa.field("suggested_label", pa.string()),
        pa.field("suspect", pa.bool_(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)

# A search for a budget: accuracy on the validation split; rung 1 is the first.
SEARCH = pa.schema(
    [
        pa.field("rung", pa.int64(), nullable=False),
        pa.field("budget", pa.string(), nullable=False),
        pa.field("flagged", pa.int64(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("accuracy", pa.float64(), nullable=False),
        pa.field("kept", pa.bool_(), nullable=False),
    ]
)

# What one repetition of a comparison measures: of a detector (no budget), or of a budget that counts by its scores.
MEASURES = pa.schema(
    [
        pa.field("detector", pa.string(), nullable=False),
        pa.field("sees", pa.string(), nullable=False),
        pa.field("budget", pa.string()),
        pa.field("measure", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)

# The same over all repetitions; the 95 % t interval is null where there is one, or where they do not differ.
COMPARISON = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        *(MEASURES.field(name) for name in ("detector", "sees", "budget", "measure")),
        pa.field("mean", pa.float64(), nullable=False),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("repetitions", pa.int64(), nullable=False),
    ]
)

# Precision against recall at some of a detector's thresholds; ``count`` samples are at least as suspect.
CURVES = pa.schema(
    [
        pa.field("detector", pa.string(), nullable=False),
        pa.field("recall", pa.float64(), nullable=False),
        pa.field("precision", pa.float64(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
    ]
)


def votes(classes: int, width: int) -> pa.Schema:
    """Schema of the neighbours' votes: a share for each class, and the nearest by their place among the sorted ids."""
    return pa.schema(
        [
            pa.field("sample_id", pa.string(), nullable=False),
            pa.field("votes", pa.list_(pa.float32(), classes), nullable=False),
            pa.field("neighbours", pa.list_(pa.int32(), width), nullable=False),
        ]
    )


def canaries(folds: int) -> pa.Schema:
    """Schema of the canaries: which label was planted, how it was drawn, and which folds' networks learnt it."""
    return pa.schema(
        [
            pa.field("sample_id", pa.string(), nullable=False),
            pa.field("planted_label", pa.string(), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("networks", pa.list_(pa.bool_(), folds), nullable=False),
        ]
    )


def gradient_shard(widths: dict[str, int], layers: int = 0, store: str = "float32", target: str = "int32") -> pa.Schema:
    """Schema of one Arrow shard: the scalars, and the gradients or their factors.

    Args:
        widths: column → its length: ``gradient``, or ``features`` and what residuals are made from; and ``logits``.
        layers: length of ``layer_norms``, the L2 norm of each chosen layer's gradient; 0 leaves the column out.
        store: ``float32`` or ``float16``, of the gradients alone.
        target: type of ``target``.
    """
    half = pa.float16() if store == "float16" else pa.float32()
    exact = {"earlier_logits": pa.float32(), "logits": pa.float32(), "target": pa.type_for_alias(target)}
    norms = [pa.field("layer_norms", pa.list_(pa.float32(), layers), nullable=False)] if layers else []
    vectors = [pa.field(name, pa.list_(exact.get(name, half), width), nullable=False) for name, width in widths.items()]
    return pa.schema([*GRADIENTS, *norms, *vectors])


def scores(detectors: list[str]) -> pa.Schema:
    """Schema of the scores table: one suspicion column per detector."""
    columns = [pa.field(name, pa.float64(), nullable=False) for name in detectors]
    return pa.schema([pa.field("sample_id", pa.string(), nullable=False), *columns])
