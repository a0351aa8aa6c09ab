"""TinyNAS structures in short notation: C(in,out,k,s) conv-norm-ReLU, else Letter(in,out,k,s,L,btn).

B = K1KXK1, X = KXKX, Q = K1DWK1, S = K1DWSEK1, D = K1KX.
"""

import re

from search_spaces.arch import Architecture, Block

KINDS = {
    "C": "conv",
    "B": "tinynas_k1kxk1",
    "X": "tinynas_kxkx",
    "Q": "tinynas_k1dwk1",
    "S": "tinynas_k1dwsek1",
    "D": "tinynas_k1kx",
}


def calls(text):
    found = re.findall(r"([A-Z])\(([\d,]+)\)", text)
    return [(letter, *map(int, numbers.split(","))) for letter, numbers in found]


def input_shape(network):
    return (calls(network["structure"])[0][1], network["resolution"], network["resolution"])


def architecture(text, bits=()):
    """The architecture; bits are (activation, weight) pairs, one a convolution."""
    blocks, at = [], 0
    for letter, _, out, kernel, stride, *rest in calls(text):
        depth, inner = rest or (1, 0)
        convs = depth * (1 if letter == "C" else 3)
        own = bits[at : at + convs]
        at += convs
        of = {name: tuple(pair[i] for pair in own) for i, name in enumerate(("activation_bits", "weight_bits"))}
        blocks.append(Block(KINDS[letter], out, kernel, stride, depth, inner, **of))
    return Architecture(tuple(blocks))
