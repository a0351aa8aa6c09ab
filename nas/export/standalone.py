"""Layers -> one readable Python file that rebuilds the network with PyTorch alone.

The file holds an explicit class (one attribute per weighted layer, one line per step of the forward pass) and
a reader for ``model.safetensors``, so it works years later without this package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from nas.export.program_parts import DEFINITIONS, FOOTER, HEADER
from nas.train.images import ImageTask
from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import (
    ACTIVATIONS,
    ADD,
    ATTENTION,
    AVG_POOL,
    CONV,
    GELU,
    GLOBAL_POOL,
    HARD_SIGMOID,
    HARD_SWISH,
    INPUT,
    LAYER_NORM,
    LINEAR,
    MUL,
    NORM,
    NORM_EPS,
    POSITION,
    RELU,
    RELU6,
    SIGMOID,
    SILU,
    SUM,
    ZERO,
    Layer,
)


def render_program(arch: Architecture, task: ImageTask, layers: Sequence[Layer] | None = None) -> str:
    """The text of the stand-alone file; equal input gives equal text.

    Args:
        arch: the design.
        task: classes, input shape and normalisation.
        layers: at this input shape, where they are no longer those of ``arch``.
    """
    layers = layers or expand(arch, task.input_shape, len(task.classes))
    channels, height, width = task.input_shape
    header = HEADER.format(
        name=_quotable(task.name),
        classes=len(task.classes),
        params=sum(layer.weight_count for layer in layers),
        macs=sum(layer.macs for layer in layers),
        channels=channels,
        height=height,
        width=width,
        digest=arch.digest,
        class_names=_tuple(task.classes),
        pixel_scale=task.pixel_scale,
        mean=_tuple(task.mean),
        std=_tuple(task.std),
        definitions="".join(text for op, text in DEFINITIONS.items() if op in {layer.op for layer in layers}),
    )
    lines = ["    def __init__(self) -> None:", "        super().__init__()"]
    lines += _with_block_comments(arch, layers, _constructors(layers))
    lines += [
        "",
        "    def forward(self, x: Tensor) -> Tensor:",
        '        """Logits; higher means more likely."""',
    ]
    lines += _with_block_comments(arch, layers, _statements(layers))
    return header + "\n".join(lines) + "\n" + FOOTER


def _quotable(name: str) -> str:
    """A name that cannot end the docstring that it is put into."""
    return "".join(c if c.isprintable() and c not in '"\\' else " " for c in name)


def _tuple(values: Sequence[object]) -> str:
    """A tuple literal that stays within 100 columns."""
    text = "(" + ", ".join(repr(v) for v in values) + ("," if len(values) == 1 else "") + ")"
    if len(text) <= 80:
        return text
    return "(\n" + "".join(f"    {value!r},\n" for value in values) + ")"


Line = tuple[int, str]  # position of the layer, code


def _with_block_comments(arch: Architecture, layers: Sequence[Layer], lines: Iterator[Line]) -> Iterator[str]:
    """Indent, and say at every block what it is."""
    block = None
    for at, code in lines:
        if layers[at].block != block:
            block = layers[at].block
            yield f"        # {_describe(arch, layers, block)}"
        yield f"        {code}"


def _describe(arch: Architecture, layers: Sequence[Layer], block: int) -> str:
    own = [layer for layer in layers if layer.block == block]
    shapes = f"{own[0].in_shape} -> {own[-1].shape}"
    return f"classifier: {shapes}" if block < 0 else f"block {block}, {arch.blocks[block].kind}: {shapes}"


def _attribute(layer: Layer) -> str:
    return "self." + layer.name.replace("blocks.", "block").replace(".", "_")


def _constructors(layers: Sequence[Layer]) -> Iterator[Line]:
    for at, layer in enumerate(layers):
        if layer.op in _CONSTRUCTORS:
            yield at, f"{_attribute(layer)} = {_CONSTRUCTORS[layer.op](layer)}"


def _conv(layer: Layer) -> str:
    options = {"stride": (layer.stride, 1), "padding": (layer.padding, 0), "groups": (layer.groups, 1)}
    given = [f"{name}={value}" for name, (value, default) in options.items() if value != default]
    given += [] if layer.bias else ["bias=False"]
    return f"nn.Conv2d({', '.join([f'{layer.in_channels}, {layer.channels}, {layer.kernel}', *given])})"


_EPS = "" if NORM_EPS == 1e-5 else f", eps={NORM_EPS!r}"  # 1e-5 is PyTorch's default
_CONSTRUCTORS: dict[str, Callable[[Layer], str]] = {
    CONV: _conv,
    NORM: lambda layer: f"nn.BatchNorm2d({layer.channels}{_EPS})",
    LAYER_NORM: lambda layer: f"ChannelNorm({layer.channels})",
    POSITION: lambda layer: f"Positions({layer.channels}, {layer.kernel})",
    LINEAR: lambda layer: f"nn.Linear({layer.in_channels}, {layer.channels})",
}


def _called(layer: Layer, v: list[str]) -> str:
    return f"{_attribute(layer)}({v[0]})"


def _function(name: str) -> Callable[[Layer, list[str]], str]:
    return lambda layer, v: f"{name}({v[0]})"


def _average_pool(layer: Layer, v: list[str]) -> str:
    tiles = layer.kernel == layer.stride
    options = f"{layer.kernel}, {layer.stride}, {layer.padding}, ceil_mode={tiles}, count_include_pad=False"
    return f"F.avg_pool2d({v[0]}, {options})"


def _zeros(layer: Layer, v: list[str]) -> str:
    if layer.shape == layer.in_shape:
        return f"torch.zeros_like({v[0]})"
    sides = (f"-(-{v[0]}.shape[{axis}] // {layer.stride})" for axis in (2, 3))
    return f"{v[0]}.new_zeros((len({v[0]}), {layer.channels}, {', '.join(sides)}))"


_EXPRESSIONS: dict[str, Callable[[Layer, list[str]], str]] = {
    CONV: _called,
    NORM: _called,
    LAYER_NORM: _called,
    POSITION: _called,
    LINEAR: lambda layer, v: f"{_attribute(layer)}({v[0]}.flatten(1))",
    RELU: _function("F.relu"),
    RELU6: _function("F.relu6"),
    HARD_SWISH: _function("F.hardswish"),
    SILU: _function("F.silu"),
    GELU: _function("F.gelu"),
    SIGMOID: _function("torch.sigmoid"),
    HARD_SIGMOID: _function("F.hardsigmoid"),
    ADD: lambda layer, v: " + ".join(v),
    SUM: lambda layer, v: " + ".join(v),
    MUL: lambda layer, v: f"{v[0]} * {v[1]}",
    ZERO: _zeros,
    AVG_POOL: _average_pool,
    GLOBAL_POOL: lambda layer, v: f"{v[0]}.mean((2, 3), keepdim=True)",
    ATTENTION: lambda layer, v: f"attention({v[0]}, {v[1]}, {v[2]}, heads={layer.groups})",
}
_JOINED = {
    (CONV, NORM),
    (ADD, RELU),
    *((op, act) for op in (CONV, NORM) for act in ACTIVATIONS),
}  # (layer, its only reader): one line


def _statements(layers: Sequence[Layer]) -> Iterator[Line]:
    """The forward pass, one line for a convolution with its norm and activation; free names are reused."""
    last_use, joined = _last_uses(layers)
    text = {INPUT: "x"}  # position -> variable name, or the expression of a layer that joins its reader's line
    for at, layer in enumerate(layers):
        expression = _EXPRESSIONS[layer.op](layer, [text[i] for i in layer.inputs])
        if at in joined:
            text[at] = expression
        elif at == len(layers) - 1:
            yield at, f"return {expression}"
        else:
            taken = {text[i] for i in text if i not in joined and last_use[i] > at}
            text[at] = _free_name(layer, taken)
            yield at, f"{text[at]} = {expression}"


def _last_uses(layers: Sequence[Layer]) -> tuple[Mapping[int, int], set[int]]:
    """For each value the line (position of a layer) that reads it last; layers without an own line."""
    readers: dict[int, list[int]] = {at: [] for at in range(INPUT, len(layers))}
    for at, layer in enumerate(layers):
        for i in layer.inputs:
            readers[i].append(at)
    line = list(range(len(layers)))  # where the code of each layer stands
    joined = set()
    for at in reversed(range(len(layers))):
        if len(readers[at]) == 1 and (layers[at].op, layers[readers[at][0]].op) in _JOINED:
            line[at] = line[readers[at][0]]
            joined.add(at)
    return {at: max((line[i] for i in read), default=-1) for at, read in readers.items()}, joined


def _free_name(layer: Layer, taken: set[str]) -> str:
    """Main path: x, y, z. Side paths: ``shortcut``, ``gate``, ``queries`` …. With a number if that is taken."""
    leaf = layer.name.rpartition(".")[2]
    if leaf in ("queries", "keys", "values"):
        names = [leaf]
    elif ".shortcut." in layer.name:
        names = ["shortcut"]
    elif ".se." in layer.name and layer.op != MUL:
        names = ["gate"]
    else:
        names = ["x", "y", "z"]
    names += [f"{names[-1]}{n}" for n in range(2, len(taken) + 3)]
    return next(name for name in names if name not in taken)
