"""Which weights of a network are pruned, and which tasks each of them serves.

The contract of a network for several tasks: ``forward(images)`` returns a mapping from task names to outputs. Weights
are found in the executed graph; a weight serves the tasks whose losses reach it backwards. Names and the order of
registration mean nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from nas.compress.errors import CannotCompress
from nas.compress.graph import executed_graph, operation, tensor_name
from nas.train.evaluate import Normaliser
from nas.train.multitask.tasks import MultitaskData
from nas.train.multitask.training import batches, task_losses
from nas.train.seeding import seeded

JOINT = "all tasks"
_CONVOLUTIONS = {f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)} | {"convolution"}
_WEIGHT_ARGUMENTS = {  # operation -> positions of arguments that may be a weight matrix or kernel
    **dict.fromkeys(_CONVOLUTIONS, (1,)),
    "linear": (1,),
    "addmm": (1, 2),
    "mm": (0, 1),
    "matmul": (0, 1),
    "bmm": (0, 1),
}
_VIEWS = {"t", "transpose", "permute", "view", "reshape", "to", "contiguous", "unsqueeze", "numpy_T", "detach", "alias"}


@dataclass(frozen=True, slots=True)
class Ownership:
    """Pruned weights, and whose they are.

    Attributes:
        tasks: names.
        users: name of the weight in the state dict, in order of execution -> the tasks it serves, in order of
            ``tasks``; at least one.
    """

    tasks: tuple[str, ...]
    users: Mapping[str, tuple[str, ...]]

    @property
    def shared(self) -> tuple[str, ...]:
        """Weights of more than one task."""
        return tuple(name for name, users in self.users.items() if len(users) > 1)

    def of(self, task: str) -> tuple[str, ...]:
        """All weights that a task uses, shared and private."""
        return tuple(name for name, users in self.users.items() if task in users)

    def private(self, task: str) -> tuple[str, ...]:
        """Weights that only this task uses."""
        return tuple(name for name, users in self.users.items() if users == (task,))

    def joint(self) -> Ownership:
        """The same weights, with all tasks taken for one."""
        return Ownership((JOINT,), dict.fromkeys(self.users, (JOINT,)))


def find_ownership(
    model: nn.Module,
    data: MultitaskData,
    *,
    users: Mapping[str, Sequence[str]] | None = None,
    device: torch.device | str = "cpu",
) -> Ownership:
    """Find the weights of convolutions, linear layers and matrix products, and the tasks of each.

    Weights that no loss reaches are left out: nobody can say what they are worth.

    Args:
        model: (N, C, H, W) float32 -> mapping from task names to outputs. It is copied, not changed.
        data: its tasks' losses are followed backwards from one batch of its training images.
        users: overrides what is found: name of a weight -> tasks; without tasks the weight is not pruned.
        device: where to compute.
    Raises: CannotCompress: no weights, a task whose loss reaches none, or an override that names unknown ones;
        Untraceable: PyTorch cannot export the network.
    """
    names, tasks = weight_names(model, data.image_task.input_shape), tuple(task.name for task in data.tasks)
    model = copy.deepcopy(model).to(device).train()
    parameters = dict(model.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    losses = _losses_of_one_batch(model, data, torch.device(device))
    reached: dict[str, list[str]] = {name: [] for name in names}
    for task in tasks:
        if not losses[task].requires_grad:
            raise CannotCompress(f"task {task!r}: its loss depends on no weight; give targets and a loss that do")
        found = torch.autograd.grad(
            losses[task], [parameters[name] for name in names], retain_graph=True, allow_unused=True
        )
        for name, gradient in zip(names, found, strict=True):
            if gradient is not None:
                reached[name].append(task)
    _override(reached, users or {}, tasks)
    result = Ownership(tasks, {name: tuple(found) for name, found in reached.items() if found})
    for task in tasks:
        if not result.of(task):
            raise CannotCompress(f"task {task!r}: uses no weight that could be pruned; leave the task out")
    return result


def weight_names(model: nn.Module, input_shape: tuple[int, int, int]) -> tuple[str, ...]:
    """Parameters that convolutions, linear layers and matrix products take as weights, in order of execution.

    Norms, biases and everything that is only added or multiplied elementwise are not among them.

    Raises: CannotCompress: there are none; Untraceable.
    """
    graph = executed_graph(model, input_shape)
    own, first = dict(model.named_parameters()), dict[int, str]()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first.setdefault(id(parameter), name)
    every = dict(model.named_parameters(remove_duplicate=False))
    names = dict[str, None]()
    for name in _weights_in(graph):
        if name in every and every[name].ndim >= 2:
            names[first[id(every[name])]] = None
    if not names:
        raise CannotCompress(
            f"{type(model).__name__}: none of its {len(own)} parameters is the weight of a convolution, a linear "
            "layer or a matrix product; nothing can be pruned"
        )
    return tuple(names)


def _weights_in(graph: fx.GraphModule) -> Iterator[str]:
    for node in graph.graph.nodes:
        for position in _WEIGHT_ARGUMENTS.get(operation(node), ()):
            source = node.args[position] if position < len(node.args) else node.kwargs.get("weight")
            while isinstance(source, fx.Node) and operation(source) in _VIEWS:
                source = source.args[0]
            if (name := tensor_name(source)) is not None:
                yield name


def _losses_of_one_batch(model: nn.Module, data: MultitaskData, device: torch.device) -> dict[str, Tensor]:
    rows = torch.arange(min(16, len(data.train)))
    images, targets = next(batches(data.train, iter([rows]), device))
    with seeded(0, -1, device):
        return task_losses(data.tasks, model(Normaliser(data.image_task, device)(images)), targets)


def _override(reached: dict[str, list[str]], users: Mapping[str, Sequence[str]], tasks: tuple[str, ...]) -> None:
    for name, wanted in users.items():
        if name not in reached:
            raise CannotCompress(f"users: {name} is no weight of this network, expected one of {', '.join(reached)}")
        if unknown := [task for task in wanted if task not in tasks]:
            raise CannotCompress(f"users of {name}: no task {unknown[0]!r}, expected some of {', '.join(tasks)}")
        reached[name] = [task for task in tasks if task in wanted]
