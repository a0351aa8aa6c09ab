"""TinyNAS structures in short notation: C(in,out,k,s) conv-norm-ReLU, else Letter(in,out,k,s,L,btn).

B = K1KXK1, X = KXKX, Q = K1DWK1, S = K1DWSEK1, D = K1KX.
"""

import re

from search_spaces.arch import Architecture, Block
from search_spaces.layer_list import LayerList
from search_spaces.layers import INPUT

KINDS = {"C": "conv", "B": "genet_bl", "X": "genet_xx", "Q": "genet_dw"}
WITHOUT_KIND = {"S", "D"}  # built as layers


def calls(text):
    found = re.findall(r"([A-Z])\(([\d,]+)\)", text)
    return [(letter, *map(int, numbers.split(","))) for letter, numbers in found]


def input_shape(network):
    return (calls(network["structure"])[0][1], network["resolution"], network["resolution"])


def architecture(text):
    """The architecture, or None when a letter has no block kind."""
    rows = calls(text)
    if {row[0] for row in rows} & WITHOUT_KIND:
        return None
    blocks = []
    for letter, _, out, kernel, stride, *rest in rows:
        depth, inner = rest or (1, 0)
        blocks.append(Block(KINDS[letter], out, kernel, stride, depth, inner))
    return Architecture(tuple(blocks))


def layers(text, shape):
    """Layers of the letters C, S and D."""
    x, at = LayerList(shape), INPUT
    ends = []
    for letter, _, out, kernel, stride, *rest in calls(text):
        if letter == "C":
            at = x.conv_norm(at, f"blocks.{len(ends)}", out, kernel, stride=stride)
        else:
            at = _super_block(x, at, f"blocks.{len(ends)}", letter, (out, kernel, stride, *rest))
        ends.append(len(x.layers))
    starts = [0, *ends]
    return tuple(
        layer._replace(block=block)
        for block, (start, end) in enumerate(zip(starts, ends, strict=False))
        for layer in x.layers[start:end]
    )


def _super_block(x, at, name, letter, numbers):
    out, kernel, stride, depth, inner = numbers
    for i in range(depth):
        unit = f"{name}.s{i}"
        at = x.conv_norm(at, f"{unit}.a", inner)
        if letter == "D":
            at = x.conv_norm(at, f"{unit}.b", out, kernel, stride=stride)
        else:
            at = x.conv_norm(at, f"{unit}.b", inner, kernel, stride=stride, depthwise=True)
            at = x.conv_norm(x.squeeze_excite(at, f"{unit}.se"), f"{unit}.c", out)
        stride = 1
    return at
