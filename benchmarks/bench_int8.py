"""Integer files against float files in ONNX Runtime: speed, bytes, and whether the integers are computed exactly.

    python benchmarks/bench_int8.py                    # all parts, minutes on one core
    python benchmarks/bench_int8.py speed --widths 16 64 --pairs 30 --span 15

``speed``: ResNet-20 for 32 x 32 images at two widths, initial weights and settled norms (values do not change the time
of a kernel), one image a call, one thread, float against integers in interleaved pairs of bursts. The time is that of
the thread on the CPU, so that a busy machine disturbs it less; beside it stands the ratio of the least wall times of
the same bursts. Variants: weights of 8 and of 7 bits; 8 bits with ONNX Runtime's exact but slower kernel
(``x64quantprecision``); signed activations (S8S8, what ONNX Runtime's own quantiser makes unless told otherwise); W4A4
and W3A3, clipped to 4 and 3 bits inside the 8-bit kernel. ``equal_codes`` is the share of the rounded values of all
layers that are those of PyTorch's simulation, ``equal_codes_by_layer`` the same when each layer is given what ONNX
Runtime's had, and ``saturated_codes`` the share that the CPU's own kernel computes otherwise than with exact sums.

``accuracy``: ResNet-8 of width 16 trained for each seed on 4,000 Fashion-MNIST images of 14 x 14 pixels; test images
are looked at once for each file. Ranges are of 512 training images, without any learning. For the first seed the report
of ``before_after`` is printed, whose latencies are wall times.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from json_line import REPOSITORY, emit, skip
from onnx import numpy_helper
from small_fashion import small_fashion
from small_resnet import SmallResNet
from torch import Tensor, nn

from hardware.bench import RealClock
from hardware.device import Device
from hardware.integer_kernels import weight_bits_here
from hardware.pairs import PairProtocol, judge_pairs, run_pairs
from nas.compress.before_after import COLUMNS, Artefact, before_after, paired_difference, texts
from nas.compress.graph import executed_graph
from nas.compress.onnx_file import write_onnx, write_quantised_onnx
from nas.compress.onnx_file.kernels import kernels_of
from nas.compress.onnx_file.saturation import saturation
from nas.compress.pipeline.compress import size_of
from nas.compress.pipeline.integers import packed_bytes
from nas.compress.quantise import Quantised, QuantiseSettings, quantise_network, simulated
from nas.train.evaluate import Normaliser, to_tensors
from nas.train.fit import fit
from nas.train.images import Dataset
from nas.train.recipe import Recipe

PARTS = ("speed", "accuracy")
BITS = {"W8A8": (8, 8, 8), "W7A8": (7, 8, 7), "W4A4": (4, 4, 7), "W3A3": (3, 3, 7)}  # weights, activations, ends
BURST_S, LEAST_RUNS = 0.02, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--span", type=float, default=6.0, help="seconds over which the pairs of a variant are spread")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5)
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(unknown)}, expected {' or '.join(PARTS)}")
    torch.set_num_threads(1)
    print(weight_bits_here().reason, flush=True)
    if "speed" in (asked.parts or PARTS):
        for width in asked.widths:
            speed(width, PairProtocol(asked.pairs, asked.span, 10 * asked.span))
    if "accuracy" in (asked.parts or PARTS):
        accuracy(asked.seeds, asked.epochs)


# ---------------------------------------------------------------- speed


def speed(width: int, pairs: PairProtocol) -> None:
    """Every variant against the float file."""
    images = cifar_images()
    torch.manual_seed(0)
    model = settled(SmallResNet(width, 1, 3, 10, 3), images)
    plain = write_onnx(executed_graph(model, (3, 32, 32)), (3, 32, 32))
    params, size = sum(p.numel() for p in model.parameters()), plain.ByteSize()
    for name, (weights, activations, ends) in BITS.items():
        settings = QuantiseSettings(method="nearest", weight_bits=weights, activation_bits=activations, edge_bits=ends)
        quantised = quantise_network(model, images, settings=settings)
        file = write_quantised_onnx(quantised)
        facts = {
            "params": params, "float_bytes": size, "bytes": file.ByteSize(), "packed_bytes": packed_bytes(quantised),
            **exactness(quantised, file, images[:32]),
        }  # fmt: skip
        timed(f"int8.speed.w{width} {name}", plain, file, pairs, **facts)
        if name == "W8A8":
            timed(f"int8.speed.w{width} {name} exact kernel", plain, file, pairs, exact=True)
            timed(f"int8.speed.w{width} S8S8", plain, with_signed_activations(file), pairs)


def timed(
    name: str, plain: onnx.ModelProto, file: onnx.ModelProto, protocol: PairProtocol, *, exact: bool = False,
    **facts: object,
) -> None:  # fmt: skip
    """Ratios float over integer of pairs of bursts; above 1 the integers are faster."""
    sessions = (session(plain), session(file, exact=exact))
    image = {"images": np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)}
    wall: list[list[float]] = [[], []]

    def burst(at: int) -> float:
        cpu_ms, wall_ms = run_burst(sessions[at], image)
        wall[at].append(wall_ms)
        return cpu_ms

    for at in (0, 1):
        run_burst(sessions[at], image)
    found = run_pairs(burst, protocol, RealClock())
    judged, kernels = judge_pairs(found), kernels_of(file)
    emit(
        name, [first / second for first, second in found], "x float",
        low=round(judged.low, 3), high=round(judged.high, 3),
        wall_ratio=round(min(wall[0]) / min(wall[1]), 3),
        cpu_ms=[round(float(np.median(column)), 3) for column in zip(*found, strict=True)],
        integer_nodes=kernels.integer, float_nodes=[node.name for node in kernels.floating], **facts,
    )  # fmt: skip


def run_burst(runs: onnxruntime.InferenceSession, image: dict[str, Any]) -> tuple[float, float]:
    """Medians of CPU time of this thread and of wall time of one call, in milliseconds."""
    runs.run(None, image)
    cpu, wall = [], []
    while len(cpu) < LEAST_RUNS or sum(cpu) < BURST_S:
        began, began_wall = time.thread_time(), time.perf_counter()
        runs.run(None, image)
        cpu.append(time.thread_time() - began)
        wall.append(time.perf_counter() - began_wall)
    return 1e3 * float(np.median(cpu)), 1e3 * float(np.median(wall))


def session(model: onnx.ModelProto, *, exact: bool = False) -> onnxruntime.InferenceSession:
    """One thread; ``exact`` asks for kernels that do not overflow."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def with_signed_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same grids, counted from -128."""
    signed = copy.deepcopy(model)
    for tensor in signed.graph.initializer:
        if tensor.data_type == onnx.TensorProto.UINT8:
            values = (numpy_helper.to_array(tensor).astype(np.int16) - 128).astype(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return signed


# ---------------------------------------------------------------- exactness


def exactness(quantised: Quantised, file: onnx.ModelProto, images: Tensor) -> dict[str, object]:
    """Codes of all rounded tensors in ONNX Runtime here, against PyTorch's simulation and against exact sums."""
    simulation = simulated(quantised)
    modules = {name: module for name, module in simulation.named_modules() if name.startswith("rounded_")}
    codes_of = {}  # by module; the clipped codes of a tensor come behind those before the clip
    for node in file.graph.node:
        stem, _, ending = node.output[0].rpartition("_")
        if ending in ("codes", "clipped") and f"rounded_{stem}" in modules:
            codes_of[f"rounded_{stem}"] = node.output[0]
    watched = copy.deepcopy(file)
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None) for name in codes_of.values()
    )
    runs, counts = session(watched), {"equal": 0, "equal_by_layer": 0, "all": 0}
    found: dict[str, np.ndarray] = {}
    forced = False

    def look(name: str, made: Tensor) -> Tensor:
        """Count equal codes; when forced, the layers behind go on from what ONNX Runtime has."""
        grid = quantised.activations[name.removeprefix("rounded_")]
        theirs = torch.from_numpy(found[name]).double()
        same = int(((made.double() / grid.scale).round() + grid.zero_point == theirs).sum())
        counts["equal_by_layer" if forced else "equal"] += same
        counts["all"] += 0 if forced else made.numel()
        return (grid.scale * (theirs - grid.zero_point)).float() if forced else made

    for name in codes_of:
        modules[name].register_forward_hook(lambda _module, _given, made, kept=name: look(kept, made))
    agreed = 0
    for image in images.split(1):
        logits, *codes = runs.run([file.graph.output[0].name, *codes_of.values()], {"images": image.numpy()})
        found = dict(zip(codes_of, codes, strict=True))
        with torch.no_grad():
            forced = False
            agreed += int(logits.argmax() == int(simulation(image).argmax()))
            forced = True
            simulation(image)
    seen = saturation(file, images.numpy())
    return {
        "equal_codes": round(counts["equal"] / counts["all"], 6),
        "equal_codes_by_layer": round(counts["equal_by_layer"] / counts["all"], 6),
        "same_class": agreed / len(images), "rounded_tensors": len(codes_of),
        "saturated_codes": round(seen.codes, 6), "saturated_classes": seen.predictions, "images": seen.n,
    }  # fmt: skip


def cifar_images() -> Tensor:
    """(128, 3, 32, 32) real photographs where the data is there, else smooth noise; mean 0, deviation 1."""
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")
    path = folder / "cifar10_lossless" / "cifar10_lossless.npz"
    if path.exists():
        with np.load(path) as file:
            images = torch.from_numpy(file["X_train"][:128]).permute(0, 3, 1, 2).float()
    else:
        skip("int8.photographs", "set NETWRIGHT_DATA to the folder with cifar10_lossless; smooth noise instead")
        noise = torch.randn(128, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        images = nn.functional.interpolate(noise, size=32, mode="bilinear")
    return ((images - images.mean((0, 2, 3), keepdim=True)) / images.std((0, 2, 3), keepdim=True)).contiguous()


def settled(model: nn.Module, images: Tensor) -> nn.Module:
    """Norms with the statistics of the images."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(images)
    return model.eval()


# ---------------------------------------------------------------- accuracy


def accuracy(seeds: list[int], epochs: int) -> None:
    """Top-1 of the float file, and what each integer file loses."""
    dataset = small_fashion(4_000, 500)
    calibration = Normaliser(dataset)(to_tensors(dataset.train)[0][:512])
    lost: dict[str, list[float]] = {}
    facts: dict[str, dict[str, list[Any]]] = {}
    for seed in seeds:
        torch.manual_seed(seed)
        model = SmallResNet(16, 1)
        recipe = Recipe.from_dict({"epochs": epochs, "batch_size": 64, "learning_rate": 0.1, "warmup_epochs": 0.5})
        fit(model, dataset, recipe, seed=seed)
        for name, values in _files(model.eval(), dataset, calibration, report=seed == seeds[0]).items():
            lost.setdefault(name, []).append(values.pop("points"))
            for key, value in values.items():
                facts.setdefault(name, {}).setdefault(key, []).append(value)
    for name, points in lost.items():
        emit(f"int8.accuracy {name}", points, "points against float", by_seed=points, **facts[name])


def _files(model: nn.Module, dataset: Dataset, calibration: Tensor, *, report: bool) -> dict[str, dict[str, Any]]:
    images, labels = to_tensors(dataset.test)
    images, truth = Normaliser(dataset)(images).numpy(), labels.numpy()
    shape = dataset.input_shape
    plain = write_onnx(executed_graph(model, shape), shape, batch=None)
    right = _classes(plain, images) == truth
    found: dict[str, dict[str, Any]] = {}
    files = {"float": plain}
    for name in ("W8A8", "W7A8"):
        weights, activations, ends = BITS[name]
        settings = QuantiseSettings(method="minmax", weight_bits=weights, activation_bits=activations, edge_bits=ends)
        files[name] = write_quantised_onnx(quantise_network(model, calibration, settings=settings), batch=None)
    for name, file, exact in (
        ("W8A8", files["W8A8"], False), ("W8A8 exact kernel", files["W8A8"], True), ("W7A8", files["W7A8"], False),
    ):  # fmt: skip
        hits = _classes(file, images, exact=exact) == truth
        points, low, high = (round(100 * value, 3) for value in paired_difference(hits, right))
        found[name] = {"points": points, "intervals": [low, high], "top1_float": round(float(right.mean()), 4)}
        if not exact:
            seen = saturation(file, images[:1_000], batch=250)
            found[name] |= {"saturated_codes": round(seen.codes, 5), "saturated_classes": seen.predictions}
    if report:
        _print_report(files, model, dataset)
    return found


def _print_report(files: dict[str, onnx.ModelProto], model: nn.Module, dataset: Dataset) -> None:
    params, macs = size_of(model, dataset.input_shape)
    with tempfile.TemporaryDirectory() as folder:
        artefacts = []
        for name, file in files.items():
            path = Path(folder) / f"{name}.onnx"
            onnx.save(file, path)
            artefacts.append(Artefact(name, path, params, macs))
        rows = before_after(artefacts, dataset, device=Device())
    for row in rows:
        print(dict(zip(COLUMNS, texts(row), strict=True)), flush=True)


def _classes(file: onnx.ModelProto, images: np.ndarray, *, exact: bool = False) -> np.ndarray:
    runs = session(file, exact=exact)
    return np.concatenate(
        [runs.run(None, {"images": images[at : at + 250]})[0].argmax(1) for at in range(0, len(images), 250)]
    )


if __name__ == "__main__":
    main()
