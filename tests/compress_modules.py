"""Modules as users write them, on which compression is tried."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """Two blocks: one whose shortcut is the input, one with a convolution; flattened into the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv1, self.norm1 = nn.Conv2d(8, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv3, self.norm3 = nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12)
        self.short = nn.Conv2d(8, 12, 1, 2)
        self.out = nn.Linear(12 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))
        x = F.relu(self.norm3(self.conv3(x)) + self.short(x))
        return self.out(torch.flatten(x, 1))


class PaddedShortcut(nn.Module):
    """The shortcut of the first residual networks: every second position, zeros for the new channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1)
        self.last, self.norm, self.out = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
        return self.out(F.relu(self.norm(self.last(F.relu(self.conv(x)))) + shortcut).mean((2, 3)))


class Mixture(nn.Module):
    """Concatenation, grouped and depthwise convolutions, squeeze-excite, PReLU, a scale, a reused convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 12, 1)
        self.middle = nn.Conv2d(20, 40, 1)
        self.grouped = nn.Conv2d(40, 40, 3, padding=1, groups=4)
        self.depthwise, self.norm = nn.Conv2d(40, 80, 3, padding=1, groups=40), nn.BatchNorm2d(80)
        self.squeeze, self.excite = nn.Conv2d(80, 10, 1), nn.Conv2d(10, 80, 1)
        self.rectify, self.scale = nn.PReLU(80), nn.Parameter(torch.randn(80, 1, 1))
        self.narrow, self.up = nn.Conv2d(80, 24, 1), nn.ConvTranspose2d(24, 12, 2, 2)
        self.twice, self.out = nn.Conv2d(12, 12, 3, padding=1), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(torch.cat([F.silu(self.left(x)), F.hardswish(self.right(x))], 1))
        x = self.rectify(self.norm(self.depthwise(F.relu6(self.grouped(x))))) * self.scale
        x = x * torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        x = self.twice(F.relu(self.twice(self.up(self.narrow(x)))))
        return self.out(x.amax((2, 3)))


class Transformer(nn.Module):
    """Patches, a class token, positions, one block of attention and perceptron."""

    def __init__(self, by: str = "width") -> None:
        super().__init__()
        self.heads, self.width, self.by = 4, 8, by
        self.patches, self.norm = nn.Conv2d(3, 16, 4, 4), nn.LayerNorm(16)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 17, 16))
        self.qkv, self.project = nn.Linear(16, 96), nn.Linear(32, 16)
        self.wide, self.back, self.out = nn.Linear(16, 40), nn.Linear(40, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        n, tokens, _ = x.shape
        qkv = self.qkv(self.norm(x))
        width = self.width if self.by == "width" else qkv.shape[-1] // 3 // self.heads
        q, k, v = qkv.reshape(n, tokens, 3, -1 if self.by == "width" else 4, width).permute(2, 0, 3, 1, 4).unbind(0)
        y = torch.softmax(q @ k.transpose(-2, -1) * width**-0.5, -1) @ v
        x = x + self.project(y.transpose(1, 2).reshape(n, tokens, -1))
        return self.out((x + self.back(F.gelu(self.wide(self.norm(x)))))[:, 0])


class FusedAttention(nn.Module):
    """Attention over positions of a map by PyTorch's own operation, with queries, keys and values of a chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.qkv, self.out = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 48, 1), nn.Conv2d(16, 12, 1)
        self.classes = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        n, _, height, width = x.shape
        q, k, v = (part.reshape(n, -1, 4, height * width).transpose(2, 3) for part in self.qkv(x).chunk(3, 1))
        y = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(n, -1, height, width)
        return self.classes((x + self.out(y)).mean((2, 3)))


def random_norms(model: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics and scales as after a training, so that nothing is equal by symmetry."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(torch.empty_like(module.weight).normal_(1, 0.3, generator=generator))
                for tensor in (module.bias, module.running_mean):
                    tensor.copy_(torch.empty_like(tensor).normal_(generator=generator))
                module.running_var.uniform_(0.5, 2, generator=generator)
    return model.eval()


MODULES = {
    "residual": (Residual, (3, 8, 8)),
    "padded shortcut": (PaddedShortcut, (3, 8, 8)),
    "mixture": (Mixture, (3, 8, 8)),
    "transformer": (Transformer, (3, 16, 16)),
    "fused attention": (FusedAttention, (3, 4, 4)),
}
