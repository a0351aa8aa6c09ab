"""A small residual network, cheap enough to be trained dozens of times on a CPU."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, a 1x1 convolution where the shape changes."""

    def __init__(self, read: int, made: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(read, made, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(made)
        self.shortcut: nn.Module = nn.Identity()
        if read != made or stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(read, made, 1, stride, bias=False), nn.BatchNorm2d(made))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + self.shortcut(x))


class SmallResNet(nn.Module):
    """ResNet with one block a stage at widths w, 2w, 4w: ResNet-8 of He et al. 2016 (arXiv 1512.03385), section 4.2.

    Args:
        width: channels of the stem and the first stage.
        stem_stride: 2 halves the images at once, which makes a training four times shorter.
        in_channels: of the images.
        classes: of the output.
        blocks: in each stage.
    """

    def __init__(
        self, width: int = 16, stem_stride: int = 2, in_channels: int = 1, classes: int = 10, blocks: int = 1
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, stem_stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        widths = [width] + [width * 2**stage for stage in range(3) for _ in range(blocks)]
        strides = [2 if stage and not at else 1 for stage in range(3) for at in range(blocks)]
        self.blocks = nn.Sequential(
            *(Block(read, made, stride) for read, made, stride in zip(widths, widths[1:], strides, strict=False))
        )
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        return self.classifier(x.mean((2, 3)))
