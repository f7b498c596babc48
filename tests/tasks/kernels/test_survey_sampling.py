"""Shares from a sample of unequal probabilities: formulas by loops, intervals on populations that are made here."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tasks.kernels.survey_sampling import (
    Share,
    falling_sizes,
    hajek_share,
    inclusion_probabilities,
    mixed_share,
    part_of_hits,
    systematic_sample,
    wilson,
)

SIZES = st.lists(st.floats(0.01, 100), min_size=1, max_size=40)


def hajek_by_loop(hit, probabilities):
    total = sum(1 / p for p in probabilities)
    value = sum(1 / p for y, p in zip(hit, probabilities, strict=True) if y) / total
    v = 0.0
    for y, p in zip(hit, probabilities, strict=True):
        v += (1 - p) * ((y - value) / p) ** 2 / total**2
    v *= len(hit) / (len(hit) - 1)
    most = total**2 / sum((1 / p) ** 2 * p / -math.log(1 - p) for p in probabilities)
    n = min(most, value * (1 - value) / v) if v else most
    return value, *wilson_by_search(value, n)


def wilson_by_search(value, n):
    """Where the distance to the share is z standard errors: found by going there."""
    grid = np.linspace(0, 1, 200_001)
    reach = 1.959963984540054 * np.sqrt(grid * (1 - grid) / n)
    below, above = (
        grid[side & (np.abs(value - grid) <= reach + c / (2 * n))]
        for side, c in ((grid <= value + 5e-6, value <= 0.5), (grid >= value - 5e-6, value >= 0.5))
    )
    return below.min(), above.max()


@given(st.lists(st.tuples(st.booleans(), st.floats(0.02, 0.95)), min_size=2, max_size=30))
def test_a_share_is_the_loop_over_those_drawn_and_its_bounds_are_z_standard_errors_away(rows):
    hit, probabilities = np.array([y for y, _ in rows]), np.array([p for _, p in rows])
    assert hajek_share(hit, probabilities) == pytest.approx(hajek_by_loop(hit, probabilities), abs=1e-5)


@given(SIZES, st.data())
def test_probabilities_are_as_the_sizes_add_up_to_the_count_and_are_never_above_one(sizes, data):
    count = data.draw(st.integers(0, len(sizes)))
    probabilities = inclusion_probabilities(np.array(sizes), count)
    assert probabilities.sum() == pytest.approx(count)
    assert (probabilities <= 1).all()
    assert count == 0 or (probabilities > 0).all()
    open_ended = probabilities < 1
    ratios = probabilities[open_ended] / np.array(sizes)[open_ended]
    assert ratios == pytest.approx(np.full(len(ratios), ratios.mean() if len(ratios) else 0))


@given(SIZES, st.floats(0, 1, exclude_max=True), st.floats(0, 1))
@example([1.0] * 4, 1 - 2**-52, 1.0)  # start + 3 is rounded to 4, the end of the line.
def test_a_systematic_sample_has_the_count_that_was_asked_for_and_nobody_twice(sizes, start, part):
    count = round(part * len(sizes))
    drawn = systematic_sample(inclusion_probabilities(np.array(sizes), count), start)
    assert len(set(drawn.tolist())) == len(drawn) == count


def test_everybody_is_drawn_as_often_as_the_probability_says():
    probabilities = inclusion_probabilities(falling_sizes(12), 5)
    starts = (np.arange(20_000) + 0.5) / 20_000
    counts = np.bincount(np.concatenate([systematic_sample(probabilities, start) for start in starts]), minlength=12)
    assert counts / 20_000 == pytest.approx(probabilities, abs=2e-4)


def test_the_first_are_drawn_more_often_and_nobody_half_as_rarely_as_all_alike():
    sizes = falling_sizes(1000)
    assert (np.diff(sizes) < 0).all()
    assert sizes.sum() == pytest.approx(1)
    assert sizes.min() > 0.5 / 1000
    assert len(falling_sizes(0)) == 0


def test_an_interval_is_a_point_where_all_are_drawn_and_nowhere_else():
    hit = np.array([True, True, False, False])
    assert hajek_share(hit, np.ones(4)) == Share(0.5, 0.5, 0.5)
    for answers in (hit, np.zeros(4, bool), np.ones(4, bool)):
        share = hajek_share(answers, np.array([1, 1, 1, 0.9]))
        assert share.low < share.high
        assert share.low <= share.value <= share.high
    for k in range(2, 60):
        assert hajek_share(np.ones(k, bool), np.full(k, k / 119)).low < 0.97
    one = hajek_share(np.array([True]), np.array([0.1]))
    assert (one.value, one.high) == (1, 1)
    assert one.low < 0.3


@given(st.floats(0, 1), st.floats(1, 1e6))
def test_wilsons_interval_holds_its_share_and_is_never_a_point(share, count):
    found = wilson(share, count)
    assert 0 <= found.low <= share <= found.high <= 1
    assert found.low < found.high


SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).map(sorted).map(lambda t: Share(t[1], t[0], t[2]))


@given(SHARES, SHARES, st.floats(0.01, 0.99))
def test_the_part_of_the_hits_is_bounded_where_the_difference_may_be_nothing(first, second, weight):
    assume(weight * first.value + (1 - weight) * second.value > 1e-9)
    part = part_of_hits(first, second, weight)
    assert part is not None
    assert 0 <= part.low <= part.value <= part.high <= 1
    assert part.value == pytest.approx(
        weight * first.value / (weight * first.value + (1 - weight) * second.value), abs=1e-9
    )
    for r in (part.low - 1e-3, part.high + 1e-3):
        if 0 < r < 1:
            a, b = (np.array(share) * w for share, w in ((first, (1 - r) * weight), (second, r * (1 - weight))))
            apart = b[0] - a[0] if r > part.value else a[0] - b[0]
            spread = (a[2] - a[0], b[0] - b[1]) if r > part.value else (a[0] - a[1], b[2] - b[0])
            assert apart >= math.hypot(*spread) - 1e-9


def test_without_a_hit_no_part_of_them_is_stated():
    nothing = Share(0.0, 0.0, 0.1)
    assert part_of_hits(nothing, nothing, 0.3) is None
    assert part_of_hits(nothing, Share(0.2, 0.1, 0.3), 0.3).value == 0  # type: ignore[union-attr]


# Populations: samples, share of wrong labels, how far they stand out, share that is flagged.
POPULATIONS = [
    (400, 0.05, 2.0, 0.05), (2000, 0.01, 2.0, 0.01), (2000, 0.01, 1.0, 0.02), (2000, 0.1, 2.0, 0.1),
    (2000, 0.1, 0.0, 0.1), (2000, 0.3, 1.0, 0.02), (2000, 0.5, 2.0, 0.5), (20_000, 0.5, 3.0, 0.25),
]  # fmt: skip


def surveyed(n, share, apart, flagged, seed):
    """(stated, true) share, precision and recall of one population with 100 answers."""
    generator = np.random.default_rng(seed)
    wrong = generator.random(n) < share
    wrong = wrong[np.argsort(-(apart * wrong + generator.standard_normal(n)))]
    m = round(n * flagged)
    inside = min(m, 50)
    probabilities = np.concatenate(
        [inclusion_probabilities(np.ones(m), inside), inclusion_probabilities(falling_sizes(n - m), 100 - inside)]
    )
    drawn = systematic_sample(probabilities, generator.random())
    first, second = (hajek_share(wrong[part], probabilities[part]) for part in (drawn[drawn < m], drawn[drawn >= m]))
    stated = mixed_share(first, second, m / n), first, part_of_hits(first, second, m / n)
    return stated, (wrong.mean(), wrong[:m].mean(), wrong[:m].sum() / max(wrong.sum(), 1))


@pytest.mark.parametrize(("n", "share", "apart", "flagged"), POPULATIONS)
def test_intervals_of_a_hundred_answers_hold_the_truth_and_the_share_is_without_bias(n, share, apart, flagged):
    held: list[list[bool]] = [[], [], []]
    errors = []
    for seed in range(200):
        stated, true = surveyed(n, share, apart, flagged, seed)
        errors.append(stated[0].value - true[0])
        for index, (figure, truth) in enumerate(zip(stated, true, strict=True)):
            if figure is not None:
                held[index].append(figure.low - 1e-9 <= truth <= figure.high + 1e-9)
    assert min(np.mean(each) for each in held) >= 0.9
    assert np.sqrt(np.mean(np.square(errors))) < 0.075
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(200)
