"""Whether labels are forgotten or added is told by the surest dissent; canaries count by their own changes."""

import numpy as np
import pytest

from tasks.kernels.set_errors import forgotten_share, shares_of_changes


def world(forgotten=0.0, added=0.0, n=3000, labels=5, seed=0):
    """What a network says in nats, and the labels that were given."""
    generator = np.random.default_rng(seed)
    truth = generator.random((n, labels)) < 0.35
    outputs = np.where(truth, 1, -1) * 3 + generator.normal(0, 2, truth.shape)
    lost, got = generator.random(truth.shape) < forgotten, generator.random(truth.shape) < added
    return outputs, (truth & ~lost) | (~truth & got)


@pytest.mark.parametrize(
    ("forgotten", "added", "expected"),
    [(0.1, 0.0, 1.0), (0.0, 0.05, 0.0), (0.1, 0.05, 0.1 * 0.35 / (0.1 * 0.35 + 0.05 * 0.65))],
)
def test_the_surest_dissent_tells_which_way_labels_are_wrong(forgotten, added, expected):
    assert forgotten_share(*world(forgotten, added)) == pytest.approx(expected, abs=0.12)


def test_where_nothing_dissents_neither_way_is_preferred_much():
    assert 0.3 < forgotten_share(*world()) < 0.7


def test_a_network_that_says_one_thing_of_all_still_gives_a_share():
    outputs, given = world(added=0.05)
    assert forgotten_share(-np.abs(outputs), given) == 0
    assert forgotten_share(np.abs(outputs), given) == 1


def test_a_canary_counts_by_the_labels_that_it_lost_and_got():
    given = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 1, 1]], bool)
    planted = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 1, 1]], bool)
    np.testing.assert_allclose(shares_of_changes(given, planted, 0.9), [0.9, 0.1, (0.9 + 2 * 0.1) / 3, 0])
