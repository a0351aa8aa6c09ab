"""Every runtime in the table keeps the same contract."""

import sys
import types

import numpy as np
import pytest
from safetensors.numpy import save_file

from hardware.device import Device
from hardware.measure import LayerModel, MeasureProtocol, OnnxFile, measure
from hardware.measuring_process import read_source
from hardware.models import EMPTY
from hardware.numerics import check_numerics, compare, compare_directions
from hardware.pieces import head_layers
from hardware.runtimes import RUNTIMES, availability, missing, runtime_version
from hardware.runtimes.contract import NumericsMismatch, RuntimeRefused, Source, import_runtime
from search_spaces.arch import Architecture, Block
from search_spaces.expand import expand
from search_spaces.onnx_graph import onnx_model
from search_spaces.random_weights import random_weights

SHAPE = (3, 14, 14)
BRIEF = MeasureProtocol(burst_ms=1.0, min_bursts=3, min_span_s=0.02, max_s=1.0, max_bursts=3)
ARCH = Architecture(
    (
        Block("conv", 8, stride=2),
        Block("zen_bl", 16, 5, inner=8, depth=2, se=True),
        Block("genet_dw", 16, 3, 2, 2, inner=24),
        Block("zen_xx", 12, 3, 1, 1, inner=8),
    )
)


def source(batch, num_classes=5, seed=0):
    layers = expand(ARCH, SHAPE, num_classes)
    weights = random_weights(layers, seed)
    model = onnx_model(layers, weights, SHAPE, batch=batch).SerializeToString()
    return Source("tiny", SHAPE, model, layers, weights)


COMPILERS = ("torch-compile", "aotinductor", "executorch")  # tens of seconds a network
SMALL = Architecture((Block("conv", 8, stride=2),))
INTEGERS = [n for n, row in RUNTIMES.items() if n != "command" and "int8" in row.precisions.get("cpu", ())]
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in COMPILERS else n for n in RUNTIMES if n != "command"]


@pytest.fixture(params=NAMES)
def runtime_name(request):
    if reason := missing(request.param):
        pytest.skip(reason)
    if "cpu" not in RUNTIMES[request.param].precisions:
        pytest.skip(f"{request.param} needs a GPU")
    return request.param


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("num_classes", [5, None])
def test_output_is_that_of_the_reference(runtime_name, batch, num_classes):
    if batch > 1 and not RUNTIMES[runtime_name].batches:
        pytest.skip("one image a call; the device refuses more")
    device = Device(runtime=runtime_name, batch=batch)
    network = source(batch, num_classes)
    runnable = import_runtime(runtime_name).load(network, device)
    runnable.run()
    assert check_numerics(runnable, network, device) < 1e-5


def test_it_says_its_version(runtime_name):
    assert import_runtime(runtime_name).version()[0].isdigit()
    assert runtime_version(runtime_name)


def test_it_runs_in_the_measuring_process(runtime_name):
    device = Device(runtime=runtime_name)
    [result] = measure([LayerModel.of(ARCH, SHAPE, 5, "tiny")], device, BRIEF)
    assert result.latency_ms > 0
    assert result.numerics_error < 1e-4
    assert result.conditions.device == str(device)
    assert result.conditions.runtime_version == runtime_version(runtime_name)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILERS)
def test_compilers_run_in_the_measuring_process(name):
    if reason := missing(name):
        pytest.skip(reason)
    [result] = measure([LayerModel.of(SMALL, SHAPE, 3, "small")], Device(runtime=name), BRIEF)
    assert result.latency_ms > 0
    assert result.numerics_error < 1e-4


def test_weights_of_a_file_are_those_that_run(tmp_path):
    layers, device = expand(SMALL, SHAPE, 3), Device(runtime="torch")
    path = tmp_path / "model.safetensors"
    model = LayerModel("small", layers, SHAPE, weights=path)
    save_file({name: np.full_like(value, np.nan) for name, value in random_weights(layers, 0).items()}, path)
    with pytest.raises(NumericsMismatch, match="small: the network's own output is not finite"):
        measure([model], device, BRIEF)
    save_file({"stem": np.ones(3, np.float32)}, path)
    with pytest.raises(RuntimeRefused, match=r"model.safetensors: weights: '.*' is missing"):
        read_source(model, device)
    path.write_bytes(b"noise")
    with pytest.raises(RuntimeRefused, match=r"model.safetensors: not a readable safetensors file"):
        read_source(model, device)


def test_onnx_files_are_run_or_refused_in_one_line(runtime_name, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(source(1).onnx)
    load = import_runtime(runtime_name).load
    device, file = Device(runtime=runtime_name), OnnxFile(path)
    network, _ = read_source(file, device)
    if RUNTIMES[runtime_name].reads_onnx:
        assert check_numerics(load(network, device), network, device) < 1e-4
        device = Device(runtime=runtime_name, threads=2, batch=4)
    with pytest.raises(RuntimeRefused) as error:
        load(read_source(file, device)[0], device)
    expected = "the device asks for" if RUNTIMES[runtime_name].reads_onnx else "ONNX file"
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("num_classes", [5, None])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_have_the_direction_of_the_reference(name, batch, num_classes):
    if reason := missing(name):
        pytest.skip(reason)
    device = Device(runtime=name, batch=batch, precision="int8")
    network = source(batch, num_classes)
    runnable = import_runtime(name).load(network, device)
    error = check_numerics(runnable, network, device)
    assert 1e-6 < error < 0.01  # integers indeed
    with pytest.raises(NumericsMismatch, match=r"tiny: the runtime's output in int8 has a cosine of .* at least 0.99"):
        check_numerics(runnable, source(batch, num_classes, seed=1), device)


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_of_the_least_network_pass_too(name):
    """What every profile measures: a classifier alone, with the few values of its image, and nothing to quantise."""
    if reason := missing(name):
        pytest.skip(reason)
    device = Device(runtime=name, precision="int8")
    for model in (LayerModel("classifier", head_layers((8, 1, 1), 10), (8, 1, 1)), EMPTY):
        network, _ = read_source(model, device)
        assert check_numerics(import_runtime(name).load(network, device), network, device) < 0.01


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_run_in_the_measuring_process(name):
    if reason := missing(name):
        pytest.skip(reason)
    device = Device(runtime=name, precision="int8")
    [result] = measure([LayerModel.of(ARCH, SHAPE, 5, "tiny")], device, BRIEF)
    assert 1e-6 < result.numerics_error < 0.01
    assert result.conditions.device.endswith(",precision=int8")


def test_other_weights_do_not_pass_the_gate(runtime_name):
    device = Device(runtime=runtime_name)
    runnable = import_runtime(runtime_name).load(source(1, seed=1), device)
    with pytest.raises(NumericsMismatch, match=r"tiny: the runtime's output is off by .* allowed is 0.001"):
        check_numerics(runnable, source(1, seed=0), device)


@pytest.mark.parametrize(
    ("output", "expected", "message"),
    [
        (np.ones((1, 3)), np.ones((1, 4)), r"shape \(1, 3\), expected \(1, 4\)"),
        (np.ones(2), np.array([1.0, np.nan]), "not finite"),
        (np.array([1.0, np.nan]), np.ones(2), "off by nan"),
        (np.array([1.0, 1.01]), np.ones(2), "off by 0.01"),
    ],
)
def test_the_gate_names_what_is_wrong(output, expected, message):
    with pytest.raises(NumericsMismatch, match=message):
        compare("net", output.astype(np.float32), expected.astype(np.float32), 1e-3)


@pytest.mark.parametrize(
    ("output", "expected", "message"),
    [
        (np.ones((1, 3)), np.ones((1, 4)), r"shape \(1, 3\), expected \(1, 4\)"),
        (np.ones(2), np.array([1.0, np.nan]), "not finite"),
        (np.array([1.0, np.nan]), np.ones(2), "cosine of nan"),
        (np.array([1.0, 1.4]), np.ones(2), "cosine of 0.986"),
        (-np.ones(2), np.ones(2), "cosine of -1"),
        (np.zeros(2), np.ones(2), "cosine of 0 "),
    ],
)
def test_the_gate_of_integers_names_what_is_wrong(output, expected, message):
    with pytest.raises(NumericsMismatch, match=message):
        compare_directions("net", output.astype(np.float32), expected.astype(np.float32), "int8")


def test_the_gate_of_integers_lets_pass_what_points_the_same_way():
    dark = np.zeros(3, np.float32)
    assert compare_directions("net", dark, dark, "int8") == 0
    bright = np.arange(3, dtype=np.float32)
    assert compare_directions("net", 2 * bright, bright, "fp16") < 1e-12


def test_onnx_runtime_refuses_what_is_not_a_model_and_what_does_not_fit():
    load = import_runtime("onnxruntime").load
    with pytest.raises(RuntimeRefused, match="noise: ONNX Runtime cannot load it"):
        load(Source("noise", SHAPE, b"not a model"), Device())
    with pytest.raises(RuntimeRefused, match=r"its input is \[1, 3, 14, 14\], the device asks for \[4, 3, 14, 14\]"):
        load(source(1), Device(batch=4))


def test_onnx_runtime_refuses_an_absent_gpu():
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("ONNX Runtime for CUDA is present")
    for precision in ("fp32", "fp16"):
        with pytest.raises(RuntimeRefused, match=r"tiny: this ONNX Runtime runs on the CPU only; .*onnxruntime-gpu"):
            import_runtime("onnxruntime").load(source(1), Device("cuda", precision=precision))


def test_torch_refuses_a_bare_onnx_file_and_an_absent_gpu():
    import torch

    load = import_runtime("torch").load
    network = source(1)
    with pytest.raises(RuntimeRefused, match="measure it with runtime onnxruntime"):
        load(Source("file", SHAPE, network.onnx), Device(runtime="torch"))
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is present")
    with pytest.raises(RuntimeRefused, match="finds no CUDA device"):
        load(network, Device("cuda", "torch"))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", [name for name, row in RUNTIMES.items() if "cuda" in row.precisions])
def test_on_cuda_it_equals_the_reference(name, precision):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if reason := missing(name):
        pytest.skip(reason)
    device = Device("cuda", name, batch=2, precision=precision)
    network = source(2)
    assert check_numerics(import_runtime(name).load(network, device), network, device) < 1e-3


def test_openvino_refuses_what_is_not_a_model_and_an_absent_gpu():
    if reason := missing("openvino"):
        pytest.skip(reason)
    load = import_runtime("openvino").load
    with pytest.raises(RuntimeRefused, match="noise: not a readable ONNX model"):
        load(Source("noise", SHAPE, b"not a model"), Device(runtime="openvino"))
    import openvino

    if "GPU" in openvino.Core().available_devices:
        pytest.skip("an OpenVINO GPU is present")
    with pytest.raises(RuntimeRefused, match="tiny: OpenVINO finds no GPU here, only CPU"):
        load(source(1), Device("gpu", "openvino"))


def test_tensorrt_without_a_gpu_says_so(monkeypatch):
    import torch

    if torch.cuda.is_available():
        pytest.skip("a CUDA device is present")
    monkeypatch.setitem(sys.modules, "tensorrt", types.ModuleType("tensorrt"))
    import hardware.runtimes.tensorrt as runtime

    with pytest.raises(RuntimeRefused, match="tiny: TensorRT needs a CUDA device"):
        runtime.load(source(1), Device("cuda", "tensorrt"))


def test_a_runtime_that_is_not_installed_names_its_extra(monkeypatch):
    monkeypatch.setattr("hardware.runtimes.find_spec", lambda module: None)
    with pytest.raises(RuntimeRefused, match=r"runtime openvino is not installed here; .* 'netwright\[openvino\]'"):
        import_runtime("openvino")
    rows = {row.name: row for row in availability()}
    assert not rows["openvino"].available
    assert "netwright[openvino]" in rows["openvino"].reason
    assert rows["command"].available


def test_a_library_that_does_not_load_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "openvino.py").write_text("raise ImportError('libfoo.so: cannot open\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    for module in [name for name in sys.modules if name.split(".")[-1] == "openvino" or name.startswith("openvino.")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(
        RuntimeRefused, match=r"^runtime openvino is installed, but does not load: libfoo.so: cannot open$"
    ):
        import_runtime("openvino")
