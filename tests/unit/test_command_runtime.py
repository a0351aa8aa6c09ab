"""The user's own benchmark command as a runtime."""

import re
import sys
import time

import psutil
import pytest

import hardware.runtimes.command as command_module
from hardware.device import Device
from hardware.measure import LayerModel, MeasureProtocol, OnnxFile, RuntimeRefused, measure
from hardware.measuring_process import read_source
from hardware.runtimes.command import read_latency_ms
from search_spaces.arch import Architecture, Block

SHAPE = (3, 16, 16)
SMALL = Architecture((Block("conv", 8, stride=2), Block("zen_xx", 8, inner=8)))
BRIEF = MeasureProtocol(burst_ms=1.0, min_bursts=3, min_span_s=0.02, max_s=30.0, max_bursts=4)
BENCH = """
import sys
content = open(sys.argv[1], "rb").read()
print("nodes 7, warm-up 99 ms")
print(len(content) / 1000, "ms")
"""


def device(run, **choices):
    return Device(runtime="command", run=run, **choices)


def model(name="net"):
    return LayerModel.of(SMALL, SHAPE, 4, name)


def test_it_times_what_netwright_writes(tmp_path):
    bench = tmp_path / "my bench.py"
    bench.write_text(BENCH)
    [result] = measure([model()], device(f"{sys.executable} '{bench}' {{model}}"), BRIEF)
    written_bytes = read_source(model(), Device())[0].onnx
    assert result.latency_ms == pytest.approx(len(written_bytes) / 1000)
    assert set(result.bursts_ms) == {result.latency_ms}
    assert result.runs == len(result.bursts_ms) >= 3
    assert result.numerics_error is None
    assert result.mode == "command"
    assert result.verdict == "ok"
    assert type(result).from_json(result.to_json()) == result


def test_placeholders_and_a_file_of_the_users(tmp_path):
    path = tmp_path / "it's mine.onnx"
    path.write_bytes(written())
    said = tmp_path / "said"
    run = f"echo {{batch}} {{threads}} {{resolution}} {{precision}} {{model}} {{other}} > {said}; echo 2.5e3 us"
    [result] = measure([OnnxFile(path)], device(run, threads=2), BRIEF.capped(0.5))
    assert result.latency_ms == 2.5
    assert said.read_text() == f"1 2 16 fp32 {path} {{other}}\n"


def test_other_formats(tmp_path):
    said = tmp_path / "said"
    run = f"head -c 8 {{tflite}} | tail -c 4 > {said}; head -1 {{param}} >> {said}; wc -c < {{bin}}"
    [result] = measure([model()], device(run), BRIEF)
    assert said.read_text() == "TFL37767517\n"
    weights = sum(layer.weight_count for layer in model().layers if layer.op != "norm")
    assert result.latency_ms > 4 * weights


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"precision": "int8"}, "{tflite} is written in fp32 only, precision=int8"),
        ({"batch": 2, "run": "echo {param}"}, "hold one image a call, batch=2"),
    ],
)
def test_formats_that_cannot_be_written_are_refused(choices, message):
    with pytest.raises(RuntimeRefused, match=re.escape(message)):
        measure([model()], device(**{"run": "echo {tflite}", **choices}), BRIEF)


def test_a_file_cannot_become_another_format(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(written())
    with pytest.raises(RuntimeRefused, match=r"net.onnx: {tflite} is written from an architecture, not from an ONNX"):
        measure([OnnxFile(path)], device("echo {tflite}"), BRIEF)


def written():
    from search_spaces.expand import expand
    from search_spaces.onnx_graph import onnx_model
    from search_spaces.random_weights import random_weights

    layers = expand(SMALL, SHAPE, 4)
    return onnx_model(layers, random_weights(layers, 0), SHAPE).SerializeToString()


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("3", 3.0),
        ("p50 1.5 ms\np99: 2.25 ms\n", 2.25),
        ("latency=850us", 0.85),
        ("0.004 s", 4.0),
        ("1.2e6 ns.", 1.2),
        ("took 7ms on model_v2 of net2", 7.0),
        ("4.5 ms (resnet18)", 4.5),
        (".5", 0.5),
    ],
)
def test_the_last_number_is_the_latency(text, expected_ms):
    assert read_latency_ms(text, "here") == pytest.approx(expected_ms)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "here printed no number but 'nothing'; expected the latency in ms"),
        ("all\nwell with v2", "here printed no number but 'well with v2'"),
        ("-3 ms", "here printed '-3'; expected a latency in ms above 0"),
        ("0", "here printed '0'"),
        ("1.0\nnan", "here printed 'nan'"),
        ("inf ms", "here printed 'inf'"),
    ],
)
def test_what_is_no_latency_is_refused(text, message):
    with pytest.raises(RuntimeRefused) as error:
        read_latency_ms(text, "here")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("echo bad weather >&2; false {model}", "ended with exit code 1: bad weather"),
        ("no-such-program {model}", "ended with exit code 127"),
        ("true {model}", "printed no number but 'nothing'"),
    ],
)
def test_a_command_that_fails_is_one_line(run, message):
    with pytest.raises(RuntimeRefused) as error:
        measure([model()], device(run), BRIEF)
    assert message in str(error.value)
    assert str(error.value).startswith("net: command ")
    assert "\n" not in str(error.value)


def test_a_command_that_takes_too_long_is_ended(monkeypatch, tmp_path):
    monkeypatch.setattr(command_module, "LIMIT_S", 0.3)
    own = command_module.OwnCommand("net", "sleep 60")
    began = time.monotonic()
    with pytest.raises(RuntimeRefused, match=r"took longer than 0.3 s; time fewer runs"):
        own.latency_ms()
    assert time.monotonic() - began < 20


def test_a_hanging_command_is_gone_with_the_measurement(tmp_path):
    from hardware.measure import MeasurementFailed

    hurried = MeasureProtocol(burst_ms=1.0, min_bursts=3, min_span_s=0.02, max_s=5.0, max_bursts=3, hang_s=5.0)
    noted = tmp_path / "pid"
    with pytest.raises(MeasurementFailed, match=r"no answer for 5 s"):
        measure([model()], device(f"echo $$ > {noted}; cat {{model}} > /dev/null; sleep 300; echo 1"), hurried)
    started = int(noted.read_text())
    for _ in range(100):
        if not psutil.pid_exists(started) or psutil.Process(started).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("the command outlived its measurement")


def test_the_command_has_the_users_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "/some/folder")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    said = tmp_path / "said"
    measure([model()], device(f'echo "$PYTHONPATH $TMPDIR" > {said}; true {{model}}; echo 1'), BRIEF)
    assert said.read_text() == f"/some/folder {tmp_path}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["said"]  # what netwright wrote there is gone
