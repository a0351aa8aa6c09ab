"""Runtimes by name; none is imported before it is used. Adding one is one file and one row.

What the modules must offer stands in ``hardware.runtimes.contract``.
"""

RUNTIMES: dict[str, str] = {
    "onnxruntime": "hardware.runtimes.onnxruntime",
    "torch": "hardware.runtimes.torch_eager",
}
