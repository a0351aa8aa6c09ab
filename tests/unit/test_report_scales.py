"""Geometry of the charts: scales, ticks, labels, hexagons."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.report.charts.pareto import nearest_centres
from nas.report.charts.progress import best_so_far, outcome_shares
from nas.report.figures import count, digits, ms, percent, si, size, tick_labels
from nas.report.scale import Scale, fit_scale, linear_ticks, log_ticks, spread
from nas.report.svg import number, tag, text

REAL = st.floats(-1e9, 1e9, allow_nan=False)


def test_a_linear_scale_maps_its_ends_and_middle() -> None:
    scale = Scale(10, 20, 100, 0)
    assert [scale(value) for value in (10, 15, 20)] == [100, 50, 0]


def test_values_beyond_an_end_stay_at_the_end() -> None:
    scale = Scale(0, 1, 0, 100)
    assert (scale(-3), scale(7)) == (0, 100)


def test_a_log_scale_gives_every_decade_the_same_room() -> None:
    scale = Scale(0.1, 10, 0, 200, log=True)
    assert scale(1) == pytest.approx(100)


def test_wide_positive_ranges_become_logarithmic_and_narrow_ones_do_not() -> None:
    assert fit_scale([0.01, 10], (0, 1), log=True).log
    assert not fit_scale([1, 10], (0, 1), log=True).log
    assert not fit_scale([0, 1000], (0, 1), log=True).log


@given(st.lists(REAL, min_size=1, max_size=8), st.booleans())
def test_a_fitted_scale_shows_every_value(values: list[float], zero: bool) -> None:
    scale = fit_scale(values, (0, 100), zero=zero)
    assert scale.low < scale.high
    assert scale.low <= min(values)
    assert max(values) <= scale.high


def test_a_scale_needs_something_to_show() -> None:
    with pytest.raises(ValueError, match="no finite value"):
        fit_scale([math.nan, math.inf], (0, 1))


@given(REAL, st.floats(1e-6, 1e9), st.integers(2, 10))
def test_linear_ticks_are_few_even_and_inside(low: float, span: float, wanted: int) -> None:
    high = low + span
    if high - low < 1e-9 * max(abs(low), abs(high)):
        return
    ticks = linear_ticks(low, high, wanted)
    slack = 1e-6 * (high - low) + 1e-10 * max(abs(low), abs(high))  # ticks have ten digits
    assert 1 <= len(ticks) <= wanted + 1
    assert all(low - slack <= tick <= high + slack for tick in ticks)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, (0, 2, 4, 6, 8, 10)), (0.13, 0.2, (0.14, 0.16, 0.18, 0.2)), (0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1.0))],
)
def test_ticks_stand_at_round_numbers(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert linear_ticks(low, high, 5) == expected


def test_log_ticks_are_decades_when_the_range_is_wide() -> None:
    assert log_ticks(0.009, 120, 5) == (0.01, 0.1, 1.0, 10.0, 100.0)


@given(st.floats(1e-6, 1e3), st.floats(30, 1e9))
def test_log_ticks_stay_inside_and_few(low: float, factor: float) -> None:
    ticks = log_ticks(low, low * factor, 5)
    assert 1 <= len(ticks) <= 7
    assert all(low <= tick <= low * factor for tick in ticks)


def test_tick_labels_share_decimals_and_prefix() -> None:
    assert tick_labels((0, 0.025, 0.05, 0.1)) == ["0", "0.025", "0.050", "0.100"]
    assert tick_labels((500_000, 1_000_000, 1_500_000)) == ["0.5M", "1.0M", "1.5M"]
    assert tick_labels((0.1, 1.0, 10.0, 1000.0)) == ["0.1", "1", "10", "1k"]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_labels_that_are_spread_keep_their_gap_and_order(wanted: list[float]) -> None:
    placed = spread(wanted, 10, 0, 100)
    by_place = sorted(placed)
    assert all(b - a >= 10 - 1e-9 for a, b in pairwise(by_place))
    assert max(placed) <= 100
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    assert [placed[i] for i in order] == by_place


@given(st.lists(st.tuples(st.floats(0, 800), st.floats(0, 400)), min_size=1, max_size=30))
def test_every_point_lies_in_its_hexagon(points: list[tuple[float, float]]) -> None:
    radius = 9.0
    across, up = np.array(points).T
    columns, rows = nearest_centres(across, up, radius)
    for x, y, column, row in zip(across, up, columns, rows, strict=True):
        assert (column + row) % 2 == 0
        assert math.hypot(x - column * radius * math.sqrt(3) / 2, y - row * radius * 1.5) <= radius + 1e-9


def test_the_best_so_far_skips_failures_and_only_rises() -> None:
    assert best_so_far(np.array([np.nan, 2.0, 1.0, np.nan, 3.0, 3.0])) == [(1, 2.0), (4, 3.0)]


def test_outcome_shares_sum_to_one_in_every_bin() -> None:
    shares = outcome_shares(np.array([0, 1, 1, 2, 3, 0, 0]), bins=3)
    assert shares.shape == (3, 4)
    assert np.allclose(shares.sum(axis=1), 1)


def test_figures_carry_three_digits_and_a_unit() -> None:
    assert [ms(0.12345), ms(12.345), ms(None)] == ["0.123 ms", "12.3 ms", "–"]
    assert [si(1_234_567), si(88), si(999_900)] == ["1.23 M", "88", "1.00 M"]
    assert [size(7170), count(12_000.0), percent(0.98051, 2)] == ["7.17 kB", "12,000", "98.05 %"]
    assert [digits(0), digits(math.nan), digits(1234.5)] == ["0", "–", "1,234"]


def test_svg_escapes_text_and_attributes_but_not_its_own_elements() -> None:
    assert text(1, 2, "<b>&") == '<text x="1" y="2">&lt;b&gt;&amp;</text>'
    assert tag("g", tag("path", d="M0 0"), data_name='"x"') == '<g data-name="&#34;x&#34;"><path d="M0 0"/></g>'
    assert [number(1.0), number(-0.001), number(2.346)] == ["1", "0", "2.35"]
