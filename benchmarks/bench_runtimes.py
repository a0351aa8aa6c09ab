"""Latency of the same networks on every runtime here, bursts of all interleaved: the winner depends on the runtime.

    python benchmarks/bench_runtimes.py --runtimes onnxruntime openvino litert ncnn mnn --threads 1

One measuring process for each runtime and precision stays open; all networks on all of them take turns, so slow
epochs of the machine hit all alike. A runtime that is missing is skipped with its reason; torch-compile, aotinductor
and executorch, which take tens of seconds a network to load, run when they are named.
"""

import argparse
from contextlib import ExitStack

from json_line import emit, skip

from hardware.device import Device
from hardware.measure import LayerModel, MeasureProtocol, NumericsMismatch, RealClock, RuntimeRefused
from hardware.models import model_to_dict
from hardware.protocol import judge, run_campaign
from hardware.runtimes import RUNTIMES, missing, runtime_version
from hardware.target import MeasurementFailed, Target
from search_spaces.arch import Architecture, Block
from search_spaces.resnet_channels import read

SLOW_TO_LOAD = ("torch-compile", "aotinductor", "executorch")
MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2() -> tuple[Block, ...]:
    """Sandler et al. 2018, arXiv 1801.04381, table 2, width 1."""
    blocks = [Block("conv", 32, stride=2, act="relu6")]
    for expansion, channels, depth, stride in MOBILENET_V2:
        for at in range(depth):
            step = stride if at == 0 else 1
            blocks.append(Block("mbconv", channels, 3, step, expansion=expansion, act="relu6"))
    return (*blocks, Block("conv", 1280, 1, act="relu6"))


def resnet_18() -> tuple[Block, ...]:
    """He et al. 2016, arXiv 1512.03385, table 1; two strided convolutions for its stem and pooling."""
    stages = [Block("resnet_basic", 64 * 2**i, 3, 1 if i == 0 else 2, 2, 64 * 2**i) for i in range(4)]
    return (Block("conv", 32, stride=2), Block("conv", 64, stride=2), *stages)


def gated() -> tuple[Block, ...]:
    """Gates and hard-swish at 5 x 5 kernels."""
    stages = [Block("mbconv", 24 * (i + 1), 5, 2, expansion=4, se=True, act="hard_swish") for i in range(4)]
    return (Block("conv", 16, stride=2, act="hard_swish"), *stages)


def grouped() -> tuple[Block, ...]:
    """Groups of eight channels, as in RegNetX."""
    stages = [Block("resnext", 48 * 2**i, 3, 2, 2, 48 * 2**i, group_width=8) for i in range(4)]
    return (Block("conv", 24, stride=2), *stages)


NETWORKS = {
    "ResNet-20 at 32": (read("resnet20:" + "-".join(["16"] * 7 + ["32"] * 6 + ["64"] * 6))[0], 32, 10),
    "MobileNetV2 at 224": (Architecture(mobilenet_v2()), 224, 1000),
    "ResNet-18 at 224": (Architecture(resnet_18()), 224, 1000),
    "gated 5x5 at 128": (Architecture(gated()), 128, 100),
    "grouped at 128": (Architecture(grouped()), 128, 100),
}


def models() -> list[LayerModel]:
    return [LayerModel.of(arch, (3, side, side), classes, name) for name, (arch, side, classes) in NETWORKS.items()]


def devices(names: list[str], threads: int) -> list[Device]:
    """Each runtime that is here, and once more in integers where it has them."""
    found = []
    for name in names:
        row = RUNTIMES[name]
        reason = missing(name) or ("" if "cpu" in row.precisions else f"runtime {name} needs a GPU")
        if reason:
            skip(f"latency on {name}", reason)
            continue
        found += [Device(runtime=name, threads=threads, precision=p) for p in row.precisions["cpu"]]
    return found


def opened(stack: ExitStack, device: Device, networks: list[LayerModel]) -> Target | None:
    """The device's process with all networks loaded; None, with the reason said, where it refuses."""
    target = stack.enter_context(Target(device, hang_s=120.0))
    try:
        target.ask(f"starting {device}", do="start", device=device.to_dict())
        for network in networks:
            target.ask(f"loading {network.name}", do="load", model=model_to_dict(network))
    except (RuntimeRefused, NumericsMismatch, MeasurementFailed) as error:
        skip(f"latency on {device}", str(error))
        return None
    return target


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = [name for name in RUNTIMES if name not in (*SLOW_TO_LOAD, "command")]
    options.add_argument("--runtimes", nargs="+", default=usual, choices=[n for n in RUNTIMES if n != "command"])
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--seconds", type=float, default=120.0)
    chosen = options.parse_args()
    networks = models()
    with ExitStack() as stack:
        asked = [(device, opened(stack, device, networks)) for device in devices(chosen.runtimes, chosen.threads)]
        pairs = [(device, target, at) for device, target in asked if target for at in range(len(networks))]

        def burst(place: int) -> float:
            _, target, at = pairs[place]
            times_ms = target.ask(f"timing {networks[at].name}", do="burst", at=at, burst_ms=10.0)["times_ms"]
            return float(sorted(times_ms)[len(times_ms) // 2])

        protocol = MeasureProtocol(min_bursts=8, min_span_s=20.0, max_s=chosen.seconds, max_bursts=30)
        medians_ms = run_campaign(len(pairs), burst, protocol, RealClock())
    for (device, _, at), bursts_ms in zip(pairs, medians_ms, strict=True):
        judged = judge(bursts_ms, 2e6, device.threads)
        facts = {"verdict": judged.verdict, "estimate": round(judged.estimate_ms, 4), "precision": device.precision}
        version = runtime_version(device.runtime)
        name = f"{networks[at].name} on {device.runtime}"
        emit(name, bursts_ms, "ms", **facts, threads=device.threads, version=version)


if __name__ == "__main__":
    main()
