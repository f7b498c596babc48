"""A forest read off factors gives every sample the path it would walk, split by split, through the built matrix."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from tasks.kernels import forest as kernel
from tasks.kernels.forest import Layout, Tree, anomaly, average_path, build_rows, lay_out, norms, path_lengths


def grown(generator, values, depth):
    """A random tree on the rows of a dense matrix, grown as the paper says; nodes in depth-first order."""
    nodes = []

    def grow(rows, level):
        at = len(nodes)
        nodes.append([-2, -2.0, -1, -1, level, len(rows)])
        column = int(generator.integers(values.shape[1]))
        low, high = values[rows, column].min(), values[rows, column].max()
        if level < depth and len(rows) > 1 and low < high:
            threshold = float(generator.uniform(low, high))
            goes = values[rows, column] <= threshold
            nodes[at][:2] = column, threshold
            nodes[at][2] = grow(rows[goes], level + 1)
            nodes[at][3] = grow(rows[~goes], level + 1)
        return at

    grow(np.arange(len(values)), 0)
    feature, threshold, left, right, level, size = (np.array(column) for column in zip(*nodes, strict=True))
    return Tree(feature, threshold.astype(np.float64), left, right, level, size)


def walked(trees, matrix):
    """Sum of paths, one sample and one split at a time, on the dense matrix."""
    sums = []
    for row in matrix:
        total = 0.0
        for tree in trees:
            node = 0
            while tree.left[node] >= 0:
                left = float(row[tree.feature[node]]) <= float(tree.threshold[node])
                node = tree.left[node] if left else tree.right[node]
            n = int(tree.size[node])
            mean = 0.0 if n < 2 else 1.0 if n == 2 else 2 * (math.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n
            total += int(tree.depth[node]) + mean
        sums.append(total)
    return np.array(sums)


def factors(generator, n, layout):
    """Factors with zeros and repeated values, as residuals and features after a ReLU have them; as n × c × width."""
    left, right = (generator.normal(size=(n, layout.c, width)).astype(np.float32) for width in (layout.k, layout.h1))
    return np.round(left, 1), np.maximum(right, 0)


def dense(left, right, layout):
    matrix = np.full((len(left), layout.p), np.nan, np.float32)
    build_rows(left, right, layout.joined, matrix)
    return matrix


@pytest.mark.parametrize("joined", ["sum", "stack"])
@pytest.mark.parametrize(("c", "k", "h1"), [(1, 3, 4), (1, 1, 1), (3, 2, 5), (2, 40, 60)])
def test_few_gradients_are_built_as_the_explicit_products(joined, c, k, h1):
    layout = Layout(joined, c, k, h1)
    left, right = factors(np.random.default_rng(c), 9, layout)
    terms = np.einsum("nck,nch->nckh", left.astype(np.float64), right.astype(np.float64))
    twins = terms.sum(1) if joined == "sum" else terms
    np.testing.assert_allclose(dense(left, right, layout), twins.reshape(9, -1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norms(left, right, joined), np.linalg.norm(twins.reshape(9, -1), axis=1), rtol=1e-5)


def test_terms_that_cancel_have_a_norm_of_nearly_nothing_and_never_nan():
    left, right = factors(np.random.default_rng(0), 50, Layout("sum", 1, 6, 7))
    found = norms(np.concatenate([left, left], 1), np.concatenate([right, -right], 1), "sum")
    assert (found < 1e-2).all()


@given(
    seed=st.integers(0, 1 << 30),
    joined=st.sampled_from(["sum", "stack"]),
    c=st.integers(1, 3),
    k=st.integers(1, 5),
    h1=st.integers(1, 40),
    n=st.integers(1, 40),
    samples=st.integers(1, 20),
    depth=st.integers(0, 6),
    splits=st.sampled_from([1, 7, 2560]),
)
@settings(max_examples=60, deadline=None)
def test_paths_are_those_walked_through_the_built_matrix(seed, joined, c, k, h1, n, samples, depth, splits):
    generator = np.random.default_rng(seed)
    layout = Layout(joined, c, k, h1)
    own, others = factors(generator, samples, layout), factors(generator, n, layout)
    trees = [grown(generator, dense(*own, layout), depth) for _ in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_SPLITS", splits)
        patch.setattr(kernel, "_SAMPLES", 16)
        forest = lay_out(trees, layout)
        found = path_lengths(forest, *(side.reshape(n, -1) for side in others))
    np.testing.assert_allclose(found, walked(trees, dense(*others, layout)), rtol=1e-12)


@pytest.mark.parametrize("p", [1, 9, 3000])
def test_paths_through_whole_gradients_are_those_walked(p):
    generator = np.random.default_rng(p)
    own, others = (generator.normal(size=(n, p)).astype(np.float32) for n in (64, 300))
    trees = [grown(generator, own, 6) for _ in range(5)]
    forest = lay_out(trees, Layout("sum", 0, 1, p))
    assert (forest.right is None) == (p < 3000)
    np.testing.assert_allclose(path_lengths(forest, None, others), walked(trees, others), rtol=1e-12)


def test_only_columns_that_are_split_on_are_gathered_of_wide_factors():
    layout = Layout("sum", 1, 500, 600)
    generator = np.random.default_rng(0)
    (left, right), few = factors(generator, 40, layout), factors(generator, 8, layout)
    trees = [grown(generator, dense(*few, layout), 3) for _ in range(3)]
    forest = lay_out(trees, layout)
    assert forest.left is not None
    assert len(forest.left) <= sum(int((tree.left >= 0).sum()) for tree in trees)
    found = path_lengths(forest, left[:, 0], right[:, 0])
    np.testing.assert_allclose(found, walked(trees, dense(left, right, layout)), rtol=1e-12)


def test_a_value_on_a_threshold_goes_left_and_one_just_above_goes_right():
    # Between a float32 and the next lie thresholds that float32 itself would round up to it.
    value = np.float32(0.1)
    above = np.nextafter(value, np.float32(1))
    for threshold, goes_left in [(float(value), (True, False)), (float(above) - 1e-12, (True, False))]:
        stump = Tree(*(np.array(x) for x in ([0, -2, -2], [threshold, -2.0, -2.0], [1, -1, -1], [2, -1, -1])),
                     np.array([0, 1, 1]), np.array([4, 1, 3]))  # fmt: skip
        found = path_lengths(lay_out([stump], Layout("sum", 0, 1, 1)), None, np.array([[value], [above]]))
        assert [length == 1.0 for length in found] == list(goes_left)


def test_a_tree_of_more_leaves_than_a_byte_counts_is_read_whole():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(700, 3)).astype(np.float32)
    tree = grown(generator, values, 14)
    assert (tree.left < 0).sum() > 256
    found = path_lengths(lay_out([tree], Layout("sum", 0, 1, 3)), None, values)
    np.testing.assert_allclose(found, walked([tree], values), rtol=1e-12)


@pytest.mark.parametrize("cuts", [[1], [255, 256, 257], [3, 4, 299]])
def test_what_stands_beside_a_sample_changes_nothing(cuts):
    generator = np.random.default_rng(1)
    layout = Layout("sum", 2, 3, 5)
    left, right = factors(generator, 300, layout)
    trees = [grown(generator, dense(left[:50], right[:50], layout), 5) for _ in range(20)]
    forest, sides = lay_out(trees, layout), (left.reshape(300, -1), right.reshape(300, -1))
    pieces = zip(*(np.split(side, cuts) for side in sides), strict=True)
    found = np.concatenate([path_lengths(forest, *piece) for piece in pieces])
    np.testing.assert_array_equal(found, path_lengths(forest, *sides))


def test_the_mean_path_is_that_of_an_unsuccessful_search():
    # c(n) = 2 H(n − 1) − 2 (n − 1) / n with H(i) ≈ ln i + γ
    assert average_path(np.array([0, 1, 2])).tolist() == [0, 0, 1]
    for n in (3, 10, 256, 100_000):
        harmonic = sum(1 / i for i in range(1, n))
        assert float(average_path(np.array(n))) == pytest.approx(2 * harmonic - 2 * (n - 1) / n, abs=1 / (n - 1))
    assert float(average_path(np.array(256))) == pytest.approx(10.2448, abs=1e-4)


def test_an_average_path_is_an_anomaly_of_a_half_and_a_shorter_one_of_more():
    mean = float(average_path(np.array(256)))
    found = anomaly(np.array([100 * mean, 0.0, 200 * mean]), 100, 256)
    assert found.tolist() == pytest.approx([0.5, 1.0, 0.25])
    assert anomaly(np.zeros(2), 100, 1).tolist() == [0.5, 0.5]


def test_sides_of_different_lengths_are_refused():
    stump = Tree(np.array([-2]), np.array([-2.0]), np.array([-1]), np.array([-1]), np.array([0]), np.array([1]))
    with pytest.raises(TypeCheckError):
        path_lengths(lay_out([stump], Layout("sum", 1, 1, 1)), np.zeros((3, 1), "f"), np.zeros((4, 1), "f"))
