"""The constant parts of the stand-alone program: its beginning, its end, and what only some networks need."""

from __future__ import annotations

from search_spaces.layers import ATTENTION, LAYER_NORM, NORM_EPS, POSITION

HEADER = '''\
"""Image classifier for {name}: {classes} classes, {params:,} parameters.

An image costs {macs:,} multiply-accumulates. Written by netwright; needs PyTorch only.
The weights are read from model.safetensors beside this file.

    from network import load, preprocess
    logits = load()(preprocess(images))        # images: (N, {channels}, {height}, {width}) raw pixels

Running the file prints the shape of the logits. Design {digest}.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = {class_names}
INPUT_SHAPE = ({channels}, {height}, {width})  # channels, height, width
PIXEL_SCALE = {pixel_scale!r}  # raw pixels are multiplied by it, then normalised
MEAN = {mean}
STD = {std}
{definitions}

class Network(nn.Module):
    """(N, {channels}, {height}, {width}) normalised images -> (N, {classes}) logits."""

'''

DEFINITIONS = {
    LAYER_NORM: f'''

class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position of (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, {NORM_EPS!r})
        return x.permute(0, 3, 1, 2)
''',
    POSITION: '''

class Positions(nn.Module):
    """Adds a learned table of positions to (N, C, H, W), resized to H x W."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, side, side))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        table = F.interpolate(self.weight[None], size=x.shape[2:], mode="bilinear", align_corners=False)
        return x + table
''',
    ATTENTION: '''

def attention(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """Softmax(Q K^T / sqrt(width of a head)) V between all positions of (N, C, H, W)."""
    n, _, height, width = queries.shape
    q, k, v = (x.reshape(n, heads, -1, height * width) for x in (queries, keys, values))
    scale = 1 / q.shape[2] ** 0.5
    weights = torch.softmax(scale * q.transpose(2, 3) @ k, dim=-1)
    return (v @ weights.transpose(2, 3)).reshape(n, -1, height, width)
''',
}
"""Code that only some networks need."""

FOOTER = '''

def preprocess(images: Tensor) -> Tensor:
    """Raw pixels (N, C, H, W) -> normalised input of the network."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (images.float() * PIXEL_SCALE - mean) / std


def load(path: Path = Path(__file__).with_name("model.safetensors")) -> Network:
    """The network with its trained weights, ready for inference."""
    model = Network()
    model.load_state_dict({attribute(name): tensor for name, tensor in read_safetensors(path).items()})
    return model.eval()


def attribute(name: str) -> str:
    """Name of a tensor in the file -> its name here: blocks.0.u0.conv.weight -> block0_u0_conv.weight."""
    layer, leaf = name.rsplit(".", 1)
    return layer.replace("blocks.", "block").replace(".", "_") + "." + leaf


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a file of 8 bytes header length, a JSON header and raw little-endian tensors."""
    data = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    types = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensor = torch.frombuffer(data[start:end], dtype=types[entry["dtype"]])
        tensors[name] = tensor.reshape(entry["shape"])
    return tensors


if __name__ == "__main__":
    with torch.inference_mode():
        print(tuple(load()(torch.zeros(1, *INPUT_SHAPE)).shape))
'''
