"""Rows in pieces are all rows, each once, and no piece is larger than was said."""

import numpy as np
import pytest

from tasks.kernels.lapses import consensus
from tasks.kernels.margins import margin
from tasks.kernels.pieces import pieces
from tasks.kernels.suggestion import suggest_labels
from tasks.kernels.wrongness import difficulty


@pytest.mark.parametrize(("n", "values", "most"), [(0, 3, None), (7, 3, None), (10, 3, 7), (10, 20, 7), (5, 0, 2)])
def test_pieces_are_all_rows_once_and_no_larger_than_was_said(n, values, most):
    found = list(pieces(n, values, most))
    assert [row for piece in found for row in range(n)[piece]] == list(range(n))
    assert all(len(range(n)[piece]) in (0, 1) or len(range(n)[piece]) * values <= (most or 1 << 21) for piece in found)


def test_what_is_made_at_a_time_is_looked_up_at_the_time(monkeypatch):
    """Tests of several pieces make it small; bound as a default it stayed as large as ever, and they tested one."""
    monkeypatch.setattr("tasks.kernels.pieces._AT_A_TIME", 4)
    assert len(list(pieces(10, 2))) == 5


def test_what_is_said_of_each_row_is_the_same_in_pieces_to_the_bit(monkeypatch):
    generator = np.random.default_rng(0)
    p, votes = (generator.dirichlet(np.full(7, 0.3), 50).astype(np.float32) for _ in range(2))
    labels = generator.integers(0, 7, 50)

    def said():
        return [*consensus(p, votes), difficulty(p, votes), margin(p, labels), *suggest_labels(p, votes, labels)]

    whole = said()
    monkeypatch.setattr("tasks.kernels.pieces._AT_A_TIME", 20)
    for one, other in zip(whole, said(), strict=True):
        np.testing.assert_array_equal(one, other)
