from dataclasses import dataclass

import numpy as np
import pytest

from hardware.counts import count
from nas.gates import Gates
from nas.knob_report import interval_of_share
from nas.narrator import Silent
from nas.objective import Objective, UnknownScore, candidate_seed
from nas.reach import explain_unreachable, extreme, reach, tightest
from nas.records import COUNTS, Candidate, Constraint, Failure
from nas.space_report import report_space
from search_spaces import SPACES
from search_spaces.arch import Architecture, Block
from search_spaces.space import GridSpace, Knob

SHAPE = (3, 16, 16)
ARCH = Architecture((Block("conv", 8, stride=2), Block("zen_xx", 16, inner=8, depth=2), Block("conv", 32, kernel=1)))
COSTS = count(ARCH, SHAPE, 10)
METRICS = COUNTS


@dataclass(frozen=True)
class Estimate:
    mean_ms: float
    upper_ms: float


class Table:
    """A latency model of one line: a microsecond for a thousand MACs, 20 % uncertain."""

    def estimate(self, arch):
        mean = count(arch, SHAPE, 10).macs / 1e6
        return Estimate(mean, 1.2 * mean)


def check(*constraints, table=None, arch=ARCH):
    return Gates(SHAPE, 10, constraints, table).check(Candidate(7, arch, 3))


def test_a_candidate_within_its_limits_comes_back_with_its_metrics():
    found = check(*(Constraint(name, getattr(COSTS, name)) for name in METRICS), table=Table())
    assert isinstance(found, Candidate)
    assert (found.id, found.arch, found.parent) == (7, ARCH, 3)
    assert {name: found.metrics[name] for name in METRICS} == {name: getattr(COSTS, name) for name in METRICS}
    assert found.metrics["latency_upper_ms"] == pytest.approx(1.2 * found.metrics["latency_ms"])


@pytest.mark.parametrize("metric", METRICS)
def test_each_limit_rejects_with_its_reason_and_excess(metric):
    limit = getattr(COSTS, metric) / 1.25
    found = check(Constraint(metric, limit), Constraint("params" if metric == "macs" else "macs", 1e12))
    assert isinstance(found, Failure)
    assert found.kind == "rejected"
    assert found.message == f"{metric} is 25 % over {limit:g}"
    assert found.violation == pytest.approx(0.25)
    assert found.candidate.metrics[metric] == getattr(COSTS, metric)


def test_latency_is_held_by_its_upper_bound():
    mean = COSTS.macs / 1e6
    assert isinstance(check(Constraint("latency_ms", 1.21 * mean), table=Table()), Candidate)
    found = check(Constraint("latency_ms", 1.1 * mean), table=Table())
    assert isinstance(found, Failure)
    assert found.violation == pytest.approx(1.2 / 1.1 - 1)
    assert "latency_ms is" in found.message


def test_violations_add_up_and_are_all_named():
    found = check(Constraint("params", COSTS.params / 2), Constraint("depth", COSTS.depth / 1.5))
    assert isinstance(found, Failure)
    assert found.violation == pytest.approx(1.5)
    assert "params is 100 % over" in found.message
    assert "depth is 50 % over" in found.message


@pytest.mark.parametrize("block", [Block("wavelet", 8), Block("conv", 8, kernel=4), Block("zen_xx", 8)])
def test_an_invalid_design_is_a_failure_of_its_own_kind(block):
    found = check(arch=Architecture((block,)))
    assert isinstance(found, Failure)
    assert (found.kind, found.violation) == ("invalid", float("inf"))
    assert "expected" in found.message


def test_a_walk_ends_with_the_first_feasible_candidate():
    gates = Gates(SHAPE, 10, (Constraint("params", 1e9),))
    found = reach(SPACES["zen-tiny"], gates, seed=0)
    assert (found.feasible, found.asked, found.invalid) == (1, 1, "")
    more = reach(SPACES["zen-tiny"], gates, seed=0, stop_at=5)
    assert (more.feasible, more.asked) == (5, 5)


def test_a_walk_finds_its_way_into_tight_limits():
    """Limits that fewer than one random sample in five hundred keeps."""
    space, rng = SPACES["genet-tiny"], np.random.default_rng(0)
    samples = [count(space.sample(rng), SHAPE, 10).params for _ in range(300)]
    gates = Gates(SHAPE, 10, (Constraint("params", 0.4 * min(samples)),))
    found = reach(space, gates, seed=1)
    assert found.feasible == 1
    assert 0 < found.least_violating.metrics["params"] <= 0.4 * min(samples)


class Widths(GridSpace):
    name = "widths"
    knobs = (Knob("width", (8, 16, 24, 32)), Knob("kernel", (3, 5)))

    def decode(self, values):
        return Architecture((Block("conv", int(values["width"]), int(values["kernel"])),))

    def values_of(self, arch):
        return {"width": arch.blocks[0].channels, "kernel": arch.blocks[0].kernel}


class Even(Widths):
    name = "even"
    knobs = (Knob("width", (8, 16)), Knob("kernel", (2, 4)))


def test_the_tightest_reachable_value_is_the_least_of_the_space():
    gates = Gates(SHAPE, 10)
    for metric in METRICS:
        least = min(
            getattr(count(Widths().decode({"width": w, "kernel": k}), SHAPE, 10), metric)
            for w in (8, 16, 24, 32)
            for k in (3, 5)
        )
        assert tightest(Widths(), gates, metric, seed=0) == least
    assert tightest(Widths(), Gates(SHAPE, 10, (), Table()), "latency_ms", seed=0) == pytest.approx(
        1.2 * count(Widths().decode({"width": 8, "kernel": 3}), SHAPE, 10).macs / 1e6
    )


def test_both_ends_of_a_metric_are_found_within_the_limits():
    sizes = {
        (w, k): count(Widths().decode({"width": w, "kernel": k}), SHAPE, 10).params
        for w in (8, 16, 24, 32)
        for k in (3, 5)
    }
    free = Gates(SHAPE, 10)
    assert extreme(Widths(), free, "params", most=True, seed=0) == max(sizes.values())
    assert extreme(Widths(), free, "params", most=False, seed=0) == min(sizes.values())
    limited = Gates(SHAPE, 10, (Constraint("params", 1_000.0),))
    assert extreme(Widths(), limited, "params", most=True, seed=0) == max(n for n in sizes.values() if n <= 1_000)
    assert extreme(Widths(), Gates(SHAPE, 10, (Constraint("params", 5.0),)), "params", most=True, seed=0) is None


def test_an_impossible_limit_is_named_with_the_tightest():
    least = count(Widths().decode({"width": 8, "kernel": 3}), SHAPE, 10).params
    text = explain_unreachable(
        Widths(), Gates(SHAPE, 10, (Constraint("params", 5.0), Constraint("macs", 1e12))), seed=0
    )
    assert text == f"space widths has no network with params of at most 5 (the tightest it reaches is {least})"


def test_limits_that_exclude_each_other_are_said_to_do_so():
    class Odd(Widths):
        """Wide networks have few MACs and narrow ones few parameters: no member has both."""

        def decode(self, values):
            wide = int(values["width"]) > 16
            return Architecture((Block("conv", 64, 1, 2) if wide else Block("conv", 4, 3, 1, 3),))

        def values_of(self, arch):
            return {"width": 32 if arch.blocks[0].channels == 64 else 8, "kernel": 3}

    few, many = (count(Odd().decode({"width": width}), SHAPE, 10) for width in (8, 32))
    both = (Constraint("params", min(few.params, many.params)), Constraint("macs", min(few.macs, many.macs)))
    assert (few.params < many.params) != (few.macs < many.macs)
    text = explain_unreachable(Odd(), Gates(SHAPE, 10, both), seed=0)
    assert "all at once" in text


def test_a_space_of_invalid_designs_is_explained():
    gates = Gates(SHAPE, 10, (Constraint("params", 1e9),))
    found = reach(Even(), gates, seed=0, steps=50)
    assert found.feasible == 0
    assert "kernel" in found.invalid
    assert tightest(Even(), gates, "params", seed=0, steps=50) == float("inf")
    assert "space even has no valid network" in explain_unreachable(Even(), gates, seed=0)


def test_a_space_report_counts_what_it_saw():
    gates = Gates(SHAPE, 10, (Constraint("params", 500.0),))
    report = report_space(Widths(), gates, samples=200, seed=0, narrator=Silent())
    assert report["duplicate_share"] == pytest.approx(1 - 8 / 200)
    assert 0 < report["feasible_share"] < 1
    assert report["invalid_share"] == 0
    assert report["metrics"]["params"]["least"] == report["least_reachable"]["params"]
    assert report["cardinality"] == 8
    assert report["feasible_interval"][0] < report["feasible_share"] < report["feasible_interval"][1]
    assert report["reachable"]["params"]["least"] == report["metrics"]["params"]["least"]
    assert report["reachable"]["params"]["most"] <= 500
    assert report["knobs_without_effect"] == []
    broken = report_space(Even(), gates, samples=20, seed=0, narrator=Silent())
    assert (broken["invalid_share"], broken["metrics"]) == (1.0, {})


class Idle(Widths):
    """A knob that does nothing."""

    name = "idle"
    knobs = (*Widths.knobs, Knob("colour", ("red", "green")))

    def values_of(self, arch):
        return {**super().values_of(arch), "colour": "red"}


def test_choices_that_never_fit_and_knobs_without_effect_are_named():
    widest = count(Idle().decode({"width": 24, "kernel": 5}), SHAPE, 10).params
    least = count(Idle().decode({"width": 32, "kernel": 3}), SHAPE, 10).params
    limit = min(widest, least - 1)
    report = report_space(
        Idle(), Gates(SHAPE, 10, (Constraint("params", limit),)), samples=400, seed=0, narrator=Silent()
    )
    [dead] = report["dead_choices"]
    assert (dead["knob"], dead["choice"]) == ("width", 32)
    assert 60 < dead["tried"] < 140
    assert report["knobs_without_effect"] == ["colour"]
    few = report_space(Idle(), Gates(SHAPE, 10, (Constraint("params", limit),)), samples=20, seed=0, narrator=Silent())
    assert few["dead_choices"] == []  # too rarely seen to be judged
    assert few["choices_unjudged"] >= 1
    nothing = report_space(
        Idle(), Gates(SHAPE, 10, (Constraint("params", 5.0),)), samples=99, seed=0, narrator=Silent()
    )
    assert nothing["dead_choices"] == []  # the limit is at fault
    zen = report_space(SPACES["zen-tiny"], Gates(SHAPE, 10), samples=20, seed=0, narrator=Silent())
    assert (zen["dead_choices"], zen["knobs_without_effect"], zen["cardinality"]) == (None, None, None)


def test_the_time_of_a_search_is_that_of_its_candidates_with_their_score():
    common = {"samples": 50, "seed": 0, "narrator": Silent(), "scores": ("zen", "mad_multiscale")}
    report = report_space(SPACES["genet-tiny"], Gates(SHAPE, 10), candidates=1_000, **common)
    each = report["score_seconds"]["zen"]
    assert 0 < each < 1
    assert 1_000 * each < report["search_seconds"]["zen"] < 1_000 * (each + 0.1)
    assert report["search_candidates"] == 1_000
    with pytest.raises(UnknownScore):
        report_space(Widths(), Gates(SHAPE, 10), **{**common, "scores": ("zon",)})
    short = report_space(Widths(), Gates(SHAPE, 10), **common)
    assert short["search_seconds"]["mad_multiscale"] is None  # one stage only


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(0, 10, 0.0, 0.3085), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1.0)]
)
def test_a_share_has_the_interval_of_clopper_and_pearson(hits, n, low, high):
    assert interval_of_share(hits, n) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("zon", "expected one of zen, zen-mc"),
        ("nowhere_at_all:score", "No module named"),
        ("math:nothing", "nothing"),
        (":x", "Empty module name"),
    ],
)
def test_an_unknown_score_is_one_line(name, said):
    with pytest.raises(UnknownScore, match=said) as caught:
        Objective(name).scorer()
    assert "\n" not in str(caught.value)


def test_an_objective_survives_its_plain_form():
    objective = Objective("zen-mc", (1, 8, 9), 5)
    assert Objective.from_dict(objective.to_dict()) == objective


def test_both_scores_are_functions_of_design_and_seed():
    for name in ("zen", "zen-mc"):
        score = Objective(name, SHAPE, 1).scorer()
        assert score(ARCH, 3) == score(ARCH, 3)
        assert np.isfinite(score(ARCH, 3))
    assert Objective("zen-mc", SHAPE).scorer()(ARCH, 3) != Objective("zen-mc", SHAPE).scorer()(ARCH, 4)


def test_candidate_seeds_are_stable_positive_and_distinct():
    seeds = {candidate_seed(run, index) for run in range(30) for index in range(300)}
    assert len(seeds) == 9_000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert candidate_seed(0, 0) == candidate_seed(0, 0)
    assert candidate_seed(2**40, 2**40) < 2**63
