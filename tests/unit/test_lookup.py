"""Latency tables on a simulated device: a known law of cost stands in for the stopwatch, all else is real."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hardware.calibration import UNCALIBRATED, calibrate, held_out, upper_bound
from hardware.conditions import Surroundings
from hardware.counts import count
from hardware.device import Device
from hardware.lookup import ConditionsChanged, LatencyTable, TableUnreadable
from hardware.probes import choose_probes, farthest_first, fit_sub_layers
from hardware.profiling import ProfileFailed, lighter, profile_space
from hardware.roofline import FEATURES, read_weights, true_macs, work_of
from hardware.spaces import sample_widely, space_digest, space_name
from hardware.table_cache import find_table, save_table, table_path
from search_spaces import SPACES
from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.expand import expand
from search_spaces.layers import CONV, INPUT, Layer
from search_spaces.space import Stage, StageSpace, Variant

SHAPE = (3, 24, 24)
OVERHEAD_MS = 0.01


class Toy:
    """A small space with no mutations."""

    name = "toy"

    def sample(self, rng):
        width = lambda: 8 * int(rng.integers(1, 9))  # noqa: E731
        kinds = ("zen_xx", "zen_bl")
        body = [
            Block(
                str(rng.choice(kinds)),
                width(),
                int(rng.choice([3, 5])),
                1 + i % 2,
                int(rng.integers(1, 4)),
                width(),
            )
            for i in range(3)
        ]
        return Architecture((Block("conv", width(), stride=2), *body))


def measured_row(probe):
    """The row of a probe on the device of the simulator."""
    return replace(probe.row, latency_ms=law_ms(probe.model.layers))


def law_ms(layers):
    """A device of the simulator: compute bound or memory bound by layer, worse at narrow widths."""
    total = OVERHEAD_MS
    for layer in layers:
        if layer.op == CONV:
            efficiency = layer.channels / (layer.channels + 12)
            total += max(true_macs(layer) / 2e7 / efficiency, layer.weight_count / 1e7) + 0.002
        else:
            total += np.prod(layer.in_shape) / 1e7
    return float(total)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    archs = sample_widely(Toy(), 150, rng)
    probes = choose_probes(archs, SHAPE, 10, 10_000.0, rng)
    sub_layers = fit_sub_layers([measured_row(probe) for probe in probes], OVERHEAD_MS, seed=0)
    draft = LatencyTable(
        "toy", Device(), SHAPE, 10, sub_layers, UNCALIBRATED, Surroundings().conditions(Device(), SHAPE)
    )
    chosen = sample_widely(Toy(), 29, rng)
    summed = np.array([draft.summed(arch) for arch in chosen])
    measured = np.array([law_ms(expand(arch, SHAPE, 10)) for arch in chosen])
    calibration = calibrate(summed, measured, OVERHEAD_MS, 0.9)
    return replace(draft, calibration=calibration, space_spec="toys:Toy", space_digest=space_digest(Toy()))


def fresh(count, seed=99):
    rng = np.random.default_rng(seed)
    return [Toy().sample(rng) for _ in range(count)]


def test_fresh_networks_are_predicted_and_bounded(table):
    archs = fresh(200)
    truth = np.array([law_ms(expand(arch, SHAPE, 10)) for arch in archs])
    estimates = [table.estimate(arch) for arch in archs]
    score = held_out(np.array([e.mean_ms for e in estimates]), truth)
    assert score.mape < 0.04
    assert score.within_10 > 0.95
    assert score.spearman > 0.99
    assert np.mean([e.upper_ms >= t for e, t in zip(estimates, truth, strict=True)]) > 0.85
    assert all(e.upper_ms >= e.mean_ms * 0.99 for e in estimates)


def test_an_estimate_does_not_depend_on_what_was_asked_before(table):
    archs = fresh(20)
    cold = LatencyTable.from_json(table.to_json())
    forward = [table.estimate(arch) for arch in archs]
    backward = [cold.estimate(arch) for arch in reversed(archs)][::-1]
    np.testing.assert_allclose([e.mean_ms for e in forward], [e.mean_ms for e in backward], rtol=1e-9)


def test_block_shares_leave_only_classifier_and_overhead(table):
    arch = fresh(1)[0]
    shares = table.blocks_ms(arch)
    rest = table.estimate(arch).mean_ms - sum(shares)
    assert len(shares) == len(arch.blocks)
    assert min(shares) > 0
    assert 0 < rest < 0.3 * table.estimate(arch).mean_ms + OVERHEAD_MS


def test_what_is_no_network_is_refused(table):
    with pytest.raises(InvalidArchitecture, match="kind"):
        table.estimate(Architecture((Block("transformer", 8),)))


def test_json_round_trip_keeps_digest_and_estimates(table):
    again = LatencyTable.from_json(table.to_json())
    arch = fresh(1)[0]
    assert again.digest == table.digest
    assert again.estimate(arch).mean_ms == pytest.approx(table.estimate(arch).mean_ms, rel=1e-9)
    assert "held-out error" in str(again)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read"),
        (lambda text: "[]", "cannot be read"),
        (lambda text: "{}", "cannot be read"),
        (lambda text: text.replace('"version": 3', '"version": 7'), "schema version 7"),
        (lambda text: text.replace('"num_classes": 10', '"num_classes": 11'), "altered"),
        (lambda text: text.replace(f'"{FEATURES[0]}"', '"colour"'), "other features"),
    ],
)
def test_damaged_tables_are_refused(table, damage, message):
    with pytest.raises(TableUnreadable, match=message):
        LatencyTable.from_json(damage(table.to_json()))


def test_the_cache_finds_what_was_saved(table, tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    assert find_table("toy", Device(), SHAPE, 10) is None
    path = save_table(table)
    assert path == table_path("toy", Device(), SHAPE)
    assert path.is_relative_to(tmp_path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no draft is left
    found = find_table("toy", Device(), SHAPE, 100)
    assert found.num_classes == 100
    assert replace(found, num_classes=10).digest == table.digest
    assert found.estimate(fresh(1)[0]).mean_ms >= table.estimate(fresh(1)[0]).mean_ms


def test_a_damaged_file_names_itself_and_the_mend(table, tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    save_table(table).write_text("{")
    with pytest.raises(TableUnreadable, match="netwright profile --space toy") as error:
        find_table("toy", Device(), SHAPE, 10)
    assert str(table_path("toy", Device(), SHAPE)) in str(error.value)


def test_changed_conditions_are_named_with_the_command_that_renews(table, tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    save_table(replace(table, conditions=replace(table.conditions, cpu_model="Z80", runtime_version="0.1")))
    with pytest.raises(ConditionsChanged) as error:
        find_table("toy", Device(), SHAPE, 10)
    text = str(error.value)
    assert "cpu_model was Z80, now" in text
    assert "runtime_version was 0.1, now" in text
    assert (
        "netwright profile --space toys:Toy --device onnxruntime:name=cpu,threads=1,batch=1 --resolution 24 "
        "--in-channels 3" in text
    )
    for space, device, shape, what in (
        ("zoo", Device(), SHAPE, "space was toy, now zoo"),
        ("toy", Device(batch=2), SHAPE, "device was"),
        ("toy", Device(threads=2), SHAPE, "device was"),
        ("toy", Device(), (1, 24, 24), "input_shape was"),
    ):
        with pytest.raises(ConditionsChanged, match=what):
            table.check_conditions(space, device, shape)
    table.check_conditions("toy", Device(), SHAPE)


def test_an_older_table_is_one_line_with_the_command_that_renews(table, tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    old = json.loads(table.to_json()) | {"version": 1}
    del old["space_spec"], old["space_digest"]
    save_table(table).write_text(json.dumps(old))
    with pytest.raises(TableUnreadable) as error:
        find_table(Toy(), Device(), SHAPE, 10, spec="toys:Toy")
    assert "schema version 1, this release reads 2 and 3. Renew it: netwright profile --space toys:Toy" in str(
        error.value
    )
    assert "\n" not in str(error.value)


def test_a_space_whose_choices_changed_or_another_of_its_name_is_named(table, tmp_path, monkeypatch):
    class Wider(Toy):
        def sample(self, rng):
            arch = super().sample(rng)
            return Architecture((*arch.blocks[:-1], replace(arch.blocks[-1], channels=512)))

    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    save_table(table)
    assert find_table(Toy(), Device(), SHAPE, 10).digest == table.digest
    with pytest.raises(
        ConditionsChanged, match=r"choices of toy changed.*Renew it: netwright profile --space toys:Toy"
    ):
        find_table(Wider(), Device(), SHAPE, 10)
    with pytest.raises(ConditionsChanged, match="netwright profile --space other:Wider"):
        find_table(Wider(), Device(), SHAPE, 10, spec="other:Wider")


def test_a_known_space_is_compared_by_its_name(table, tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    save_table(replace(table, space="zen-tiny", space_spec="zen-tiny", space_digest=space_digest(SPACES["zen-tiny"])))
    assert find_table("zen-tiny", Device(), SHAPE, 10) is not None
    save_table(replace(table, space="zen-tiny", space_spec="zen-tiny"))
    with pytest.raises(ConditionsChanged, match="choices of zen-tiny changed"):
        find_table("zen-tiny", Device(), SHAPE, 10)


def test_the_digest_of_a_space_sees_every_choice():
    def grid(channels=(16, 24), stride=1, name="mine"):
        return StageSpace(
            name, (Stage((Variant("conv"),), channels), Stage((Variant("genet_xx"),), (32,), (3,), stride))
        )

    digests = [space_digest(grid(**change)) for change in ({}, {"channels": (16, 32)}, {"stride": 2})]
    assert len({*digests, *(space_digest(space) for space in SPACES.values())}) == 3 + len(SPACES)
    assert space_digest(grid(name="other")) == digests[0]
    many = tuple(range(8, 8 * 400, 8))
    assert space_digest(grid(many)) != space_digest(grid((*many[:-1], 4096)))
    assert space_digest(Toy()) == space_digest(Toy())


def test_probes_are_spread_affordable_and_reproducible():
    archs = sample_widely(Toy(), 60, np.random.default_rng(0))
    few, same, many = (
        choose_probes(archs, SHAPE, 10, budget_ms, np.random.default_rng(1)) for budget_ms in (2e3, 2e3, 2e4)
    )
    assert [p.model for p in few] == [p.model for p in same]
    assert 20 <= len(few) < len(many)
    assert {layer.kernel for p in many for layer in p.piece if layer.op == CONV} >= {1, 3, 5}
    assert any(p.copies > 1 for p in many)
    assert sum("classifier" in p.model.name for p in many) >= 5


def test_farthest_first_takes_the_corners():
    square = np.array([[x, y] for x in range(5) for y in range(5)], float)
    chosen = farthest_first(square, 5)
    assert chosen[0] == 12
    assert {tuple(square[i]) for i in chosen[1:]} == {(0, 0), (0, 4), (4, 0), (4, 4)}
    assert len(farthest_first(np.ones((4, 2)), 3)) == 1


@pytest.mark.parametrize(("size", "kernel", "stride"), [(1, 7, 1), (2, 5, 1), (7, 3, 2), (9, 5, 1), (8, 1, 2)])
def test_work_leaves_out_padding(size, kernel, stride):
    out = (size + 2 * (kernel // 2) - kernel) // stride + 1
    layer = Layer("c", CONV, (INPUT,), (4, size, size), (6, out, out), kernel, stride)
    starts = [o * stride - kernel // 2 for o in range(out)]
    inside = [[0 <= start + tap < size for tap in range(kernel)] for start in starts]
    assert true_macs(layer) == 24 * sum(map(sum, inside)) ** 2
    assert read_weights(layer) == 24 * sum(map(any, zip(*inside, strict=True))) ** 2
    assert np.isfinite(work_of([layer]).features).all()


def test_calibration_finds_factor_and_cache_and_shrugs_off_an_outlier():
    rng = np.random.default_rng(0)
    summed = np.column_stack([rng.uniform(0.5, 10, 20), rng.uniform(0, 30, 20)])
    measured = 0.05 + 0.9 * summed[:, 0] + 0.1 * np.maximum(0, summed[:, 1] - 8)
    measured[3] *= 2
    found = calibrate(summed, measured, 0.05, 0.9)
    assert found.cached_mb == 8
    assert found.factor == pytest.approx(0.9, rel=0.02)
    assert found.per_megabyte_ms == pytest.approx(0.1, rel=0.05)
    assert found.held_out.within_10 == pytest.approx(0.95)


@pytest.mark.parametrize("count", [6, 9, 14, 40])
def test_the_upper_bound_covers_new_residuals(count):
    rng = np.random.default_rng(count)
    covered = [rng.normal() <= upper_bound(rng.normal(size=count), 0.9) for _ in range(2000)]
    assert np.mean(covered) > 0.88


def test_impossible_requests_are_refused():
    with pytest.raises(ProfileFailed, match="3 s is too short"):
        profile_space(Toy(), Device(), SHAPE, 10, seconds=3, seed=0)
    with pytest.raises(ProfileFailed, match=r"expected 0.5 to 0.99"):
        profile_space(Toy(), Device(), SHAPE, 10, seconds=30, seed=0, confidence=1.5)


def test_mutations_are_walked_where_the_space_has_them():
    class Walker(Toy):
        def mutate(self, arch, rng):
            return Architecture((*arch.blocks, Block("conv", 8, 1)))

    archs = sample_widely(Walker(), 20, np.random.default_rng(0))
    assert sum(len(arch.blocks) > 4 for arch in archs) == 10
    assert space_name(Walker()) == "toy"
    assert space_name(object()) == "object"


def test_lighter_keeps_the_small_ones():
    archs = sample_widely(Toy(), 20, np.random.default_rng(0))
    kept = lighter(archs, 0.25, SHAPE, 10)
    sizes = sorted(count(arch, SHAPE, 10).params for arch in archs)
    assert [count(arch, SHAPE, 10).params for arch in kept] == sizes[:5]
    assert len(lighter(archs[:1], 0.1, SHAPE, 10)) == 1


def test_tables_are_plain_text(table):
    assert set(json.loads(table.to_json())) >= {"version", "digest", "conditions", "calibration", "measured"}
