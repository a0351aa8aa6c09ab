"""A weight-sharing supernet of any space of knobs: shared tensors, of which every architecture takes slices.

No elastic modules are needed: ``expand`` says what layers an architecture has, ``search_spaces.sharing`` which slice
serves which layer, and ``execute`` runs the layers on the slices.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from search_spaces.arch import Architecture
from search_spaces.build import Network, build
from search_spaces.execute import execute
from search_spaces.expand import expand
from search_spaces.layers import Layer
from search_spaces.sharing import ANY_SIDE, STATISTICS, NoSupernet, Sharing, Use, enlarged, shared_shapes, uses
from search_spaces.space import GridSpace

Norms = Literal["update", "batch", "given"]
Plan = tuple[tuple[Layer, ...], list[Use]]
MAX_PLANS = 1024


class Supernet(nn.Module):
    """All architectures of a space in one set of weights.

    ``forward(x, arch)`` runs one of them; ``activate`` fixes which one ``forward(x)`` runs; ``extract`` gives it as a
    plain network with its own copy of the weights. ``extract(arch)(x)`` equals ``forward(x, arch)`` to 1e-5.

    Args:
        space: of knobs.
        num_classes: outputs of the classifier.
        in_channels: of the images; any height and width is accepted.
        sharing: what is shared how.
        capacity: widths of the supernet's networks relative to those of the space; other than 1 it ranks architectures
            by networks that are wider by this factor, and cannot give them out.
        seed: of the initial weights.

    Attributes:
        shapes: name -> shape of every shared tensor, running statistics of norms included.
    """

    def __init__(
        self,
        space: GridSpace,
        *,
        num_classes: int,
        in_channels: int = 3,
        sharing: Sharing | None = None,
        capacity: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(space, GridSpace):
            raise NoSupernet(
                f"supernet of {getattr(space, 'name', space)!r}: its networks have no fixed places for blocks; "
                "give a space of knobs, such as mobilenetv3-tiny-images, resnet20-channels, genet-tiny or vit-tiny"
            )
        if not 1.0 <= capacity <= 16.0:
            raise NoSupernet(f"supernet: capacity={capacity}, expected 1 to 16")
        self.space, self.num_classes, self.in_channels = space, num_classes, in_channels
        self.sharing, self.capacity = sharing or Sharing(), capacity
        self.shapes = shared_shapes(
            space, self.sharing, num_classes=num_classes, in_channels=in_channels, capacity=capacity
        )
        self.active: Architecture | None = None
        self._given: Mapping[str, Tensor] | None = None
        self._plans: OrderedDict[str, Plan] = OrderedDict()
        for name, shape in self.shapes.items():
            key = name.replace(".", "/")
            if name.endswith(STATISTICS):
                self.register_buffer(key, torch.ones(shape) if name.endswith("var") else torch.zeros(shape))
            else:
                self.register_parameter(key, nn.Parameter(torch.empty(shape)))
        if self.sharing.kernels == "transform":
            self._add_transforms()
        self.reset_parameters(seed)

    @property
    def device(self) -> torch.device:
        """Where the shared tensors are."""
        return next(self.parameters()).device

    @property
    def digest(self) -> str:
        """Of what a checkpoint must fit: space, choices, sharing, capacity, shapes."""
        knobs = [(knob.name, [repr(choice) for choice in knob.choices]) for knob in self.space.knobs]
        sharing = [self.sharing.kernels, self.sharing.norms, self.sharing.classifier]
        facts = [self.space.name, knobs, sharing, self.capacity, sorted(self.shapes.items())]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]

    def shared(self, name: str) -> Tensor:
        """A shared tensor by its name in ``shapes``."""
        found: Tensor = getattr(self, name.replace(".", "/"))
        return found

    def reset_parameters(self, seed: int, *, zero_last: bool = False) -> None:
        """He initialisation of convolutions, 1/0 of norms, small normal classifiers and position tables.

        Args:
            seed: of the draws, tensor by tensor.
            zero_last: scale 0 in the last norm before every residual addition, so that blocks begin as identities
                (BigNAS, arXiv 2003.11142).
        """
        generator = torch.Generator().manual_seed(seed)
        last = self._last_norms() if zero_last else frozenset()
        with torch.no_grad():
            for name, shape in self.shapes.items():
                self.shared(name).copy_(_initial(name, shape, generator))
                if name in last:
                    self.shared(name).zero_()

    def plan(self, arch: Architecture) -> Plan:
        """The layers of an architecture, and for each of their tensors the slice that serves it.

        Raises: InvalidArchitecture: no member of the space; NoSupernet: it needs more than the supernet has.
        """
        key = arch.digest
        if key not in self._plans:
            layers = expand(enlarged(arch, self.capacity), (self.in_channels, ANY_SIDE, ANY_SIDE), self.num_classes)
            found = uses(self.space.sites(arch), layers, self.sharing)
            for use in found:
                self._check(use)
            self._plans[key] = layers, found
            if len(self._plans) > MAX_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return self._plans[key]

    def _check(self, use: Use) -> None:
        known = self.shapes.get(use.shared)
        if known is None or any(need > have for need, have in zip(use.shape, known, strict=True)):
            raise NoSupernet(
                f"supernet of {self.space.name}: {use.name} needs {use.shape} of {use.shared}, which has {known}; "
                "the space's knobs act on each other in a way that a supernet does not know"
            )

    def tensors(self, arch: Architecture) -> dict[str, Tensor]:
        """The architecture's tensors by the names of its own state dict: views of the shared ones.

        Small kernels that come from a learned matrix are no views.
        """
        return {use.name: self._slice(use) for use in self.plan(arch)[1]}

    def _slice(self, use: Use) -> Tensor:
        whole = self.shared(use.shared)
        if use.kernel > 1:
            start = (whole.shape[-1] - use.kernel) // 2
            part = whole[: use.shape[0], : use.shape[1]]
            if self.sharing.kernels == "transform":
                return self._transformed(use, part)
            return part[:, :, start : start + use.kernel, start : start + use.kernel]
        return whole[tuple(slice(0, size) for size in use.shape)]

    def _add_transforms(self) -> None:
        """Matrices from each kernel size to the next smaller one, beginning as the identity on its centre."""
        sizes: dict[str, int] = {name: shape[-1] for name, shape in self.shapes.items() if len(shape) == 4}
        for name, side in sizes.items():
            for kernel in range(side - 2, 1, -2):
                self.register_parameter(_matrix(name, kernel), nn.Parameter(torch.eye(kernel * kernel)))

    def _transformed(self, use: Use, part: Tensor) -> Tensor:
        for kernel in range(part.shape[-1] - 2, use.kernel - 1, -2):
            centre = part[:, :, 1:-1, 1:-1].flatten(2)
            part = (centre @ getattr(self, _matrix(use.shared, kernel)).T).unflatten(2, (kernel, kernel))
        return part

    def forward(self, x: Tensor, arch: Architecture | None = None, *, norms: Norms | None = None) -> Tensor:
        """(N, in_channels, H, W) -> logits (N, num_classes).

        Args:
            x: normalised images, of any height and width that the strides allow.
            arch: None runs the active one.
            norms: "update" normalises by the batch and moves the stored statistics, the default in training mode;
                "batch" by the batch alone; "given" by the statistics that ``activate`` was given, else the stored ones,
                which are those of no architecture in particular: the default in evaluation mode.
        Raises: NoSupernet: nothing is active; InvalidArchitecture.
        """
        chosen = arch or self.active
        if chosen is None:
            raise NoSupernet("supernet: which architecture? Give one, or activate one")
        tensors = self.tensors(chosen)
        if arch is None and self._given is not None:
            tensors |= self._given
        mode = norms or ("update" if self.training else "given")
        return execute(self.plan(chosen)[0], tensors, x, norm=mode)

    def run(
        self,
        arch: Architecture,
        x: Tensor,
        tensors: Mapping[str, Tensor],
        *,
        norms: Norms = "update",
        momentum: float = 0.1,
    ) -> Tensor:
        """Run an architecture on tensors by its own names; "update" moves the statistics among them in place."""
        return execute(self.plan(arch)[0], tensors, x, norm=norms, momentum=momentum)

    def activate(self, arch: Architecture, statistics: Mapping[str, Tensor] | None = None) -> None:
        """Make ``forward(x)`` run this architecture.

        Args:
            arch: a member of the space.
            statistics: its running means and variances by name, of ``nas.train.supernet.recalibration``.
        """
        self.plan(arch)
        self.active, self._given = arch, statistics

    def extract(self, arch: Architecture, statistics: Mapping[str, Tensor] | None = None) -> Network:
        """The architecture as a plain network with its own copy of the shared weights, in evaluation mode.

        Args:
            arch: a member of the space.
            statistics: as for ``activate``; None takes the stored ones. Recalibrate one way or the other: the stored
                ones mix those of all architectures.
        Raises: NoSupernet: the supernet's networks are wider than the space's; InvalidArchitecture.
        """
        if self.capacity != 1.0:
            raise NoSupernet(
                f"supernet: its networks are {self.capacity:g} times as wide as those of {self.space.name}, so it "
                "ranks architectures but has no weights for them; train one with capacity 1"
            )
        network = build(arch, num_classes=self.num_classes, in_channels=self.in_channels).to(self.device)
        tensors = {**self.tensors(arch), **(statistics or {})}
        state = {name: tensors.get(name, value) for name, value in network.state_dict().items()}
        network.load_state_dict({name: value.detach().clone() for name, value in state.items()})
        return network.eval()

    def _last_norms(self) -> frozenset[str]:
        """Scales of the norms that a residual addition reads on its main path."""
        from search_spaces.layers import ADD, NORM

        found = set()
        for arch in self._witnesses():
            layers, plan = self.plan(arch)
            by_name = {use.name: use.shared for use in plan}
            for layer in layers:
                before = layers[layer.inputs[0]] if layer.op == ADD and layer.inputs[0] >= 0 else None
                if before is not None and before.op == NORM:
                    found.add(by_name[f"{before.name}.weight"])
        return frozenset(found)

    def _witnesses(self) -> Iterator[Architecture]:
        """Architectures that between them have every choice of every knob."""
        from search_spaces.extremes import largest

        values = self.space.values_of(largest(self.space))
        for knob in self.space.knobs:
            for choice in knob.choices:
                yield self.space.decode({**values, knob.name: choice})


def _matrix(name: str, kernel: int) -> str:
    return f"{name.replace('.', '/')}/to{kernel}"


def _initial(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if len(shape) == 4:
        return torch.randn(shape, generator=generator) * math.sqrt(2.0 / (shape[0] * shape[2] * shape[3]))
    if len(shape) == 3:
        return 0.02 * torch.randn(shape, generator=generator).clamp(-2, 2)
    if len(shape) == 2:
        return 0.01 * torch.randn(shape, generator=generator)
    is_scale = name.endswith(".weight") or name.endswith("running_var")
    return torch.ones(shape) if is_scale else torch.zeros(shape)
