"""Which labels are known to be wrong: to report how well they were found, never to choose anything by."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import BadInput
from tasks.dataset.samples import table_of
from tasks.pipeline.artefacts import Artefact, Run


class Truth(NamedTuple):
    """Of n training samples."""

    known: np.ndarray
    """n, whether the clean label is known"""
    wrong: np.ndarray
    """n, whether it is known to be another than the given one"""


def truth_of(run: Run, samples: Artefact, ids: pa.Array) -> Truth:
    """The truth about ``ids``, which must be samples."""
    table = table_of(run, samples, ["sample_id", "label", "clean_label"])
    table = table.take(pc.index_in(ids, value_set=table["sample_id"].combine_chunks()))
    wrong = pc.fill_null(pc.not_equal(table["label"], table["clean_label"]), False)
    return Truth(pc.is_valid(table["clean_label"]).to_numpy(), wrong.to_numpy())


def need_truth(run: Run, samples: Artefact) -> None:
    """Refuse samples whose wrong labels are not known.

    Raises:
        BadInput: no clean label is known, or all of them say the same of the given ones.
    """
    table = table_of(run, samples, ["sample_id", "split"])
    train = table.filter(pc.equal(table["split"], "train"))["sample_id"].combine_chunks()
    known, wrong = truth_of(run, samples, train)
    if not wrong.any() or wrong[known].all():
        count = f"{known.sum():,} known of {len(train):,}"
        raise BadInput(
            where="the clean labels of the training samples",
            expected="some that differ from the given labels and some that do not: a comparison needs known noise",
            got=count if not known.any() else f"{count}, {'all' if wrong.any() else 'none'} of which differ",
            do="Name the column of clean labels with --reader.clean-label, or plant noise with --reader.noise.share.",
        )
