"""What is verified is what is published: an arm trains on the rows and labels that the version then holds."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.dataset.targets import Target
from tasks.pipeline.schemas import FLAGS, SAMPLES, scores
from tasks.proof.arms import Verification, apply_arm, flagged_among
from tasks.versions.contents import THIN, DecisionFilter, decide

CLASSES = ["ape", "bee", "cat"]
ROWS = st.lists(
    st.tuples(st.sampled_from(CLASSES), st.booleans(), st.sampled_from([None, *CLASSES])), min_size=1, max_size=20
)


@pytest.mark.parametrize("remedy", ["remove", "relabel"])
@settings(deadline=None)
@given(rows=ROWS)
def test_an_arm_and_a_version_keep_the_same_rows_under_the_same_labels(remedy, rows):
    ids = [f"{i * 37 % 101:03d}" for i in range(len(rows))]
    blank = dict.fromkeys(FLAGS.names) | {"suspicion": 0.0, "detector": "l2", "marked_by": [], "reason": "r"}
    flags = pa.Table.from_pylist(
        [
            blank | {"sample_id": name, "flag": flag, "rank": i + 1, "suggested_label": other}
            for i, (name, (_, flag, other)) in enumerate(zip(ids, rows, strict=True))
        ],
        schema=FLAGS,
    )
    given_labels = [label for label, _, _ in rows]
    about = {"sample_id": ids, "label": given_labels, "source": ["s"] * len(ids), "row": list(range(len(ids)))}
    columns = {**dict.fromkeys(SAMPLES.names, [None] * len(ids)), **about, "split": ["train"] * len(ids)}
    samples = pa.table([pa.array(columns[f.name], f.type) for f in SAMPLES], schema=SAMPLES)
    scored = pa.table([pa.array(ids), pa.array(np.zeros(len(ids)))], schema=scores(["l2"]))
    decided = DecisionFilter(decide(flags, samples.select(THIN), scored, remedy, "rule"))
    (batch,) = samples.combine_chunks().to_batches()
    published = decided.apply(batch)

    names = np.array(ids, dtype=object)
    labels = np.array([CLASSES.index(label) for label in given_labels])
    flagged, suggested, text = flagged_among(flags, names, Target(classes=tuple(CLASSES)))
    assert text.to_pylist() == [other for _, _, other in rows]
    kept, borne = apply_arm(names, labels, flagged, suggested, Verification(remedy=remedy).treatment)
    assert published["sample_id"].to_pylist() == names[kept].tolist()
    assert published["label"].to_pylist() == [CLASSES[y] for y in borne[kept]]
