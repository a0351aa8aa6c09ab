"""The timer on the real machine: short campaigns; nothing here depends on how fast the machine is."""

import os
import signal
import time
from dataclasses import replace

import onnx
import psutil
import pytest

import hardware.measure as measure_module
from hardware.conditions import Conditions, cpu_identity
from hardware.device import Device
from hardware.measure import (
    LayerModel,
    Measurement,
    MeasurementFailed,
    MeasureProtocol,
    OnnxFile,
    RuntimeRefused,
    measure,
)
from hardware.target import Target
from search_spaces.arch import Architecture, Block
from search_spaces.expand import expand
from search_spaces.onnx_graph import onnx_model
from search_spaces.random_weights import random_weights

SHAPE = (3, 16, 16)
SMALL = Architecture((Block("conv", 8, stride=2), Block("zen_xx", 8, inner=8)))
LARGE = Architecture((Block("conv", 32), Block("zen_xx", 64, inner=64, depth=4)))
BRIEF = MeasureProtocol(burst_ms=1.0, min_bursts=3, min_span_s=0.05, max_s=2.0, max_bursts=6)


def written(tmp_path, batch=1, arch=SMALL):
    layers = expand(arch, SHAPE, 4)
    path = tmp_path / "net.onnx"
    onnx.save(onnx_model(layers, random_weights(layers, 0), SHAPE, batch=batch), path)
    return path


def children():
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_measurements_of_layers_and_files(tmp_path):
    before = children()
    told = []
    models = [
        LayerModel.of(LARGE, SHAPE, 4, "large"),
        OnnxFile(written(tmp_path, batch=None)),
        LayerModel.of(SMALL, SHAPE, None, "features"),
    ]
    large, file, features = measure(models, Device(), BRIEF, lambda what, share: told.append((what, share)))

    assert [m.model for m in (large, file, features)] == ["large", "net.onnx", "features"]
    assert large.latency_ms > 2 * file.latency_ms
    for result in (large, file, features):
        assert 0 < result.low_ms < result.latency_ms < result.high_ms
        assert result.p50_ms <= result.p95_ms
        assert 3 <= len(result.bursts_ms) <= 6
        assert result.runs >= 3 * len(result.bursts_ms)
        assert result.mode in ("fifo", "nice", "cpu-time", "wall")
        assert result.verdict in ("ok", "noisy", "void")
        assert (result.reason == "") == (result.verdict == "ok")
        assert result.numerics_error < 1e-4
        assert result.conditions.input_shape == SHAPE
        assert result.conditions.cpu_model == cpu_identity()[0]
        assert result.conditions.runtime_version
        assert Measurement.from_json(result.to_json()) == result
        assert len(result.bursts) == len(result.bursts_ms)
        assert sum(burst.runs for burst in result.bursts) == result.runs
        assert [burst.at_s for burst in result.bursts] == sorted(burst.at_s for burst in result.bursts)
        assert all(burst.compute >= 1 and burst.memory >= 1 for burst in result.bursts)
        assert 0 <= result.disturbed_share <= 1
        assert result.disturbed_share == sum(burst.disturbed for burst in result.bursts) / len(result.bursts)
        assert result.to_dict()["disturbed_share"] == result.disturbed_share
    again = Conditions.from_dict(large.conditions.to_dict())
    assert set(again.identity()) >= {"device", "input_shape", "cpu_model", "cpu_flags", "runtime_version"}
    assert time.strptime(again.date[:19], "%Y-%m-%dT%H:%M:%S")
    assert {what for what, _ in told} == {"loading", "timing"}
    assert all(0 <= share <= 1 for _, share in told)
    assert children() == before


def test_measurements_of_the_first_schema_are_read():
    (now,) = measure([LayerModel.of(SMALL, SHAPE, 4)], Device(), replace(BRIEF, sentinels=False))
    assert now.disturbed_share is None
    data = now.to_dict() | {"version": 1}
    for later in ("bursts", "working_set_bytes", "disturbed_share"):
        del data[later]
    older = Measurement.from_dict(data)
    assert (older.latency_ms, older.bursts_ms, older.bursts) == (now.latency_ms, now.bursts_ms, ())
    with pytest.raises(ValueError, match="schema version 3, this release reads 1 and 2"):
        Measurement.from_dict({**data, "version": 3})


def test_torch_and_a_batch(tmp_path):
    device = Device(runtime="torch", batch=2)
    (result,) = measure([LayerModel.of(SMALL, SHAPE, 4)], device, BRIEF)
    assert result.latency_ms > 0
    assert result.conditions.device == str(device)


def test_two_threads_have_a_wider_interval():
    (result,) = measure([LayerModel.of(SMALL, SHAPE, 4)], Device(threads=2), BRIEF)
    assert result.high_ms >= 1.15 * result.latency_ms * 0.999


def test_nothing_to_measure():
    assert measure([], Device()) == []


def test_files_that_cannot_be_measured_are_refused_in_one_line(tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"\x08\x09garbage")
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"")
    fixed = written(tmp_path)
    cases = [
        (OnnxFile(tmp_path / "absent.onnx"), Device(), "no such file"),
        (OnnxFile(damaged), Device(), "damaged.onnx"),
        (OnnxFile(empty), Device(), "empty.onnx: not an ONNX model: it holds no operation"),
        (OnnxFile(fixed), Device(batch=4), "the device asks for"),
    ]
    before = children()
    for model, device, message in cases:
        with pytest.raises(RuntimeRefused) as error:
            measure([model], device, BRIEF)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    assert children() == before


def test_a_process_that_dies_is_one_line_and_leaves_nothing():
    before = children()
    with Target(Device(), hang_s=30.0) as target:
        target.ask("starting", do="start", device=Device().to_dict())
        os.kill(target.pid, signal.SIGKILL)
        with pytest.raises(MeasurementFailed, match=r"^loading net: the measuring process died \(exit code -9\)$"):
            target.ask("loading net", do="load", model={})
    assert children() == before


def test_files_named_like_standard_modules_do_no_harm(tmp_path, monkeypatch):
    for name in ("re", "json", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    with Target(Device(), hang_s=30.0) as target:
        assert target.ask("starting", do="start", device=Device().to_dict())["mode"]


def test_what_killed_the_process_is_quoted():
    with Target(Device(), hang_s=30.0) as target:
        target.ask("starting", do="start", device=Device().to_dict())
        with pytest.raises(MeasurementFailed, match=r"died \(exit code 1: KeyError: 'input_shape'\)"):
            target.ask("loading net", do="load", model={})


def test_a_process_that_hangs_is_ended():
    before = children()
    with Target(Device(), hang_s=30.0) as target:
        target.ask("starting", do="start", device=Device().to_dict())
        os.kill(target.pid, signal.SIGSTOP)
        target._hang_s = 0.2
        with pytest.raises(MeasurementFailed, match=r"timing net: no answer for 0.2 s; the process was ended"):
            target.ask("timing net", do="burst", at=0, burst_ms=1.0)
    assert children() == before


def test_the_process_ends_with_its_owner_pipe():
    with Target(Device(), hang_s=30.0) as target:
        target.ask("starting", do="start", device=Device().to_dict())
        target._process.stdin.close()
        assert target._process.wait(timeout=30) == 0


def test_an_interrupt_leaves_no_process(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    before = children()
    monkeypatch.setattr(measure_module, "run_campaign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure([LayerModel.of(SMALL, SHAPE, 4)], Device(), BRIEF)
    assert children() == before
