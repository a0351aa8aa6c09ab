"""Times inside a network: whose they are, and the real runtime's own profile."""

import numpy as np
import onnx
import pytest
from onnx import helper

from hardware.device import Device
from hardware.device_store import device_name, load_device, save_device
from hardware.kernel_profiling import _chunks, kernel_rows, measure_kernels
from hardware.kernel_times import profiler_costs_ms, time_kernels
from hardware.models import LayerModel
from hardware.profiling import empty_table, stored_rows
from hardware.protocol import MeasureProtocol
from hardware.runtimes.contract import RuntimeRefused, import_profiler
from hardware.runtimes.onnxruntime_profile import owners_of_nodes, summarise
from search_spaces import SPACES
from search_spaces.arch import Architecture, Block

SHAPE = (3, 16, 16)
BRIEF = MeasureProtocol(burst_ms=1.0, min_bursts=3, min_span_s=0.05, max_s=4.0, max_bursts=3)


def test_nodes_belong_to_the_layer_whose_name_they_bear_and_reorders_to_who_wants_them():
    nodes = [
        helper.make_node("Conv", ["images"], ["t1"], "a.relu_nchwc"),
        helper.make_node("ReorderOutput", ["t1"], ["a.relu"], "ReorderOutput_1"),
        helper.make_node("Sigmoid", ["a.relu"], ["b.silu.gate"], "b.silu.gate"),
        helper.make_node("Mul", ["a.relu", "b.silu.gate"], ["b.silu"], "b.silu"),
        helper.make_node("ReorderInput", ["b.silu"], ["t2"], "ReorderInput"),
        helper.make_node("FusedMatMul", ["t2"], ["c.logits"], "c.logits/MatMulScaleFusion/"),
        helper.make_node("Gemm", ["c.logits"], ["logits"], "logits"),
    ]
    graph = onnx.GraphProto(node=nodes)
    assert owners_of_nodes(graph, ["a.relu", "b.silu", "c", "head"]) == {
        "a.relu_nchwc": "a.relu",
        "ReorderOutput_1": "b.silu",
        "b.silu.gate": "b.silu",
        "b.silu": "b.silu",
        "ReorderInput": "b.silu",
        "c.logits/MatMulScaleFusion/": "c",
        "logits": "head",
    }


def test_the_quickest_runs_count_and_too_few_are_refused():
    def run(first, second):
        kernels = [("a_kernel_time", first), ("b_kernel_time", second)]
        events = [{"cat": "Node", "name": name, "dur": dur} for name, dur in kernels]
        return [*events, {"cat": "Session", "name": "model_run", "dur": first + second}]

    slow, quick = run(900, 90), run(100, 10)
    profile = summarise([*slow, *(5 * quick), *slow], {"a": "x", "b": "x"})
    assert profile.layers_ms == pytest.approx({"x": 0.11})
    assert profile.nodes == {"x": 2}
    with pytest.raises(RuntimeRefused, match="only 1 runs were noted"):
        summarise(slow, {"a": "x", "b": "x"})


def test_the_profilers_cost_is_what_explains_a_network_within_the_usual():
    usual = [(1.0 + 0.004 * nodes, 1.0, nodes) for nodes in (20, 40, 60, 80, 100, 30, 50, 70, 90, 25)]
    costs = profiler_costs_ms([*usual, (1.0, 1.2, 10), (3.0, 1.0, 10)])
    assert costs[:10] == pytest.approx([0.004] * 10)
    assert 0.003 <= costs[10] <= 0.004  # not less than nothing
    assert costs[11] == pytest.approx(0.004, rel=0.3)  # a slow epoch, no dearer profiler


def test_a_runtime_without_a_profile_says_so():
    with pytest.raises(RuntimeRefused, match="runtime torch: tells no times inside a network; onnxruntime does"):
        import_profiler("torch")


@pytest.mark.parametrize(("space", "batch"), [("zen-tiny", 1), ("mobilenetv3-tiny-images", 2)])
def test_kernels_of_a_real_network_add_up_to_its_latency(space, batch):
    arch = SPACES[space].sample(np.random.default_rng(0))
    [times] = time_kernels([LayerModel.of(arch, SHAPE, 10)], Device(batch=batch), BRIEF).networks
    assert min(times.kernels_ms) > 0
    assert sum(times.kernels_ms) < times.latency_ms
    assert sum(times.kernels_ms) > 0.1 * times.latency_ms
    assert {kernel.batch for kernel in times.kernels} == {batch}
    rows = kernel_rows(times)
    assert sum(row.runs * row.latency_ms for row in rows) == pytest.approx(sum(times.kernels_ms))
    assert len({row.footprint for row in rows}) == 1


def test_profiling_adds_chunks_to_the_stored_table_and_does_not_repeat_them(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr("hardware.kernel_profiling.PROTOCOL", BRIEF)
    monkeypatch.setattr("hardware.kernel_profiling.CHUNK", 2)
    rng = np.random.default_rng(0)
    archs = [SPACES["zen-tiny"].sample(rng) for _ in range(3)]
    left = iter([100.0, 100.0, -1.0])
    kept = []

    def keep(table):
        kept.append(table)
        save_device(table)

    arguments = (Device(), SHAPE, 10)
    quiet = {"progress": lambda what, share: None, "keep": keep}
    first = measure_kernels(empty_table(Device()), archs[:2], *arguments, left_s=lambda: next(left), **quiet)
    assert len(first.networks) == 2
    assert len(kept) == 1
    assert stored_rows(Device()) == first == load_device(device_name(Device()))

    second = measure_kernels(stored_rows(Device()), archs, *arguments, left_s=lambda: 100.0, **quiet)
    assert {row.arch for row in second.networks} == set(archs)
    assert len(kept) == 2  # only the third network was new


def test_giants_are_left_out_unless_there_is_nothing_else(monkeypatch):
    monkeypatch.setattr("hardware.kernel_profiling.CHUNK", 2)
    small = Architecture((Block("conv", 8, stride=2), Block("zen_xx", 8, inner=8)))
    other = Architecture((Block("conv", 8, stride=2), Block("zen_xx", 16, inner=8)))
    giant = Architecture((Block("conv", 8, stride=2), Block("zen_xx", 2048, inner=2048, depth=3)))
    assert [set(chunk) for chunk in _chunks([giant, small, other], SHAPE, 10, 500.0)] == [{small, other}]
    assert [set(chunk) for chunk in _chunks([giant], SHAPE, 10, 500.0)] == [{giant}]
    assert not list(_chunks([], SHAPE, 10, 500.0))
