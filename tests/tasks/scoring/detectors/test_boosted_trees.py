"""Trees of a table's columns: held out, refused where there are no columns, left out of a fusion then."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from tasks.core.errors import BadConfig
from tasks.kernels.margins import margin
from tasks.scoring.crossfit import CrossFit
from tasks.scoring.detectors import DetectorChoice
from tasks.scoring.evidence import Evidence

BOOSTED = DetectorChoice(kind="boosted_trees").component


def with_payload(evidence, **changes):
    payload = evidence.samples.facts["payload"] | changes
    samples = evidence.samples.model_copy(update={"facts": evidence.samples.facts | {"payload": payload}})
    return Evidence(evidence.run, CrossFit(**dict(evidence.crossfit) | {"samples": samples}))


def test_a_sample_is_judged_by_trees_of_the_other_folds(evidence, world):
    x, labels, folds = world.features[:180, :-1], world.labels[:180], world.folds[:180]
    p = np.zeros((180, 3))
    for fold in range(3):
        options: dict[str, Any] = {"max_iter": 60, "early_stopping": False, "random_state": 0}
        trees = HistGradientBoostingClassifier(**options)
        p[folds == fold] = trees.fit(x[folds != fold], labels[folds != fold]).predict_proba(x[folds == fold])
    expected = margin(np.log(p + 1e-3), labels)
    np.testing.assert_allclose(BOOSTED.score(evidence), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"columns": ["x"]}, "no columns of a table"),
        ({"shape": [1, 2, 3]}, "no columns of a table"),
        ({"kind": "image", "columns": ["picture"]}, "no columns of a table"),
    ],
)
def test_inputs_without_columns_are_refused_and_a_fusion_leaves_the_trees_out(evidence, changes, reason):
    other = with_payload(evidence, **changes)
    with pytest.raises(BadConfig, match=rf"boosted_trees: expected a table .*{reason}.*--detectors"):
        BOOSTED.score(other)
    assert reason in DetectorChoice(kind="fusion").component.facts(other)["dropped"]["boosted_trees"]
