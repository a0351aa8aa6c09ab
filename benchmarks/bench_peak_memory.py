"""Peak activation memory: what the liveness analysis says beside the high-water mark of ONNX Runtime.

Each network runs once in a fresh process: arena and memory pattern off, one thread, batch 96, so that activations
dominate. The mark is that of the resident set during the run, less what was resident before; the images are in memory
before and are added. Networks whose activations take 20 MB or more count. Prints one JSON line a family and in all:
    python benchmarks/bench_peak_memory.py [NETWORKS A FAMILY]
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from json_line import emit

from hardware.counts import peak_memory_bytes
from hardware.runtime_memory import onnxruntime_peak_bytes
from search_spaces import SPACES
from search_spaces.expand import expand
from search_spaces.onnx_graph import onnx_model
from search_spaces.random_weights import random_weights

BATCH, LEAST_MB, MOST_MACS = 96, 20, 150e6
FAMILIES = {  # space, side of the images
    "mobilenetv3-small-images": (32, 64),
    "mobilenetv3-ofa": (96, 128),
    "resnet-small": (32, 64),
    "genet-small": (32, 64),
    "zen": (32,),
    "zen-idw-se": (64, 96),
    "tinynas-k1dwk1-small": (32, 64),
    "nas-bench-201": (32,),
}
# freed maps go back to the system at once: by default glibc keeps those below 32 MB, which then count as resident
ENVIRONMENT = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
CHILD = """
import ctypes, json, sys
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.enable_cpu_mem_arena = False
options.enable_mem_pattern = False
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
shape = [int(size) for size in sys.argv[2].split(",")]
images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
ctypes.CDLL("libc.so.6").malloc_trim(0)
def kb(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
open("/proc/self/clear_refs", "w").write("5")
before = kb("VmRSS")
session.run(None, {"images": images})
print(json.dumps((kb("VmHWM") - before) * 1024 + images.nbytes))
"""


def measured_bytes(layers, shape):
    model = onnx_model(layers, random_weights(layers, 0), shape, batch=BATCH)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        sizes = ",".join(map(str, (BATCH, *shape)))
        command = [sys.executable, "-c", CHILD, path, sizes]
        ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def networks(name, sides, count):
    rng, found, tries = np.random.default_rng(7), 0, 0
    while found < count and tries < 400:
        tries += 1
        shape = (3, *(int(rng.choice(sides)),) * 2)
        layers = expand(SPACES[name].sample(rng), shape, 10)
        least = BATCH * peak_memory_bytes(layers, shape)
        if least >= LEAST_MB * 1e6 and sum(layer.macs for layer in layers) < MOST_MACS:
            found += 1
            yield layers, shape


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    every = []
    for name, sides in FAMILIES.items():
        rows = [ratios(layers, shape) for layers, shape in networks(name, sides, count)]
        every += rows
        report(name, rows)
    report("all", every)


def ratios(layers, shape):
    """What the rules of the runtime, and the least that any runtime needs, say over what was measured."""
    measured = measured_bytes(layers, shape)
    return onnxruntime_peak_bytes(layers, shape, BATCH) / measured, BATCH * peak_memory_bytes(layers, shape) / measured


def report(name, rows):
    for which, found in zip(("onnxruntime", "least"), np.array(rows).T, strict=True):
        errors = np.abs(found - 1)
        facts = {"mean_error": round(float(errors.mean()), 4), "within_10": round(float((errors <= 0.1).mean()), 3)}
        worst = round(float(errors.max()), 3)
        emit(f"peak_memory.{name}.{which}", found, "predicted / measured", worst=worst, **facts)


if __name__ == "__main__":
    main()
