"""The dense gradient is the outer product of each sample's factors, row-major over (classes, features)."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from tasks.kernels.outer import dense_gradient


@pytest.mark.parametrize(("n", "k", "h1"), [(0, 2, 3), (1, 2, 1), (19, 5, 7)])
def test_every_row_is_the_outer_product_of_its_factors(n, k, h1):
    generator = np.random.default_rng(n)
    residual = generator.normal(size=(n, k)).astype(np.float32)
    features = generator.normal(size=(n, h1)).astype(np.float32)
    out = np.full((n, k * h1), np.nan, np.float32)
    dense_gradient(residual, features, out)
    for row, r, h in zip(out, residual, features, strict=True):
        np.testing.assert_array_equal(row, np.outer(r, h).ravel())


@pytest.mark.parametrize(
    ("residual", "features", "out"),
    [
        (np.zeros((3, 2), np.float64), np.zeros((3, 4), np.float32), np.zeros((3, 8), np.float32)),
        (np.zeros((3, 2), np.float32), np.zeros((2, 4), np.float32), np.zeros((3, 8), np.float32)),
        (np.zeros((3, 2), np.float32), np.zeros((3, 4), np.float32), np.zeros((4, 8), np.float32)),
    ],
)
def test_other_precisions_and_lengths_are_refused(residual, features, out):
    with pytest.raises(TypeCheckError):
        dense_gradient(residual, features, out)


def test_an_output_of_the_wrong_width_is_refused():
    with pytest.raises(ValueError, match="reshape"):
        dense_gradient(np.zeros((3, 2), np.float32), np.zeros((3, 4), np.float32), np.zeros((3, 9), np.float32))
