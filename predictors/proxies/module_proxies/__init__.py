"""Zero-cost proxies that work on any torch module; the table loads without torch.

Every proxy is a function ``(module, images, labels=None, *, seed=0, device="cpu") -> float`` that leaves the module
as it was and raises ``ProxyFailed`` where it has nothing to say. docs/module_proxies.md compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, cast

if TYPE_CHECKING:
    from torch import Tensor, nn

    class ModuleScore(Protocol):
        """What every proxy of a module is."""

        def __call__(
            self, module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
        ) -> float:
            """Score the module on the images."""


@dataclass(frozen=True, slots=True)
class ModuleProxy:
    """A row of the table.

    Attributes:
        function: its name in a file of this package.
        file: that file, without ".py".
        better: which direction promises higher accuracy.
        labels: whether labels count; random ones are drawn where none are given.
        gradients: first or second derivatives that it takes: 0 runs without autograd.
        batch: images that a score of an architecture takes by default: what the order of networks needs.
        source: authors, year, arXiv id.
    """

    function: str
    file: str
    better: Literal["higher", "lower"]
    labels: bool
    gradients: Literal[0, 1, 2]
    batch: int
    source: str

    @property
    def sign(self) -> int:
        """+1 or -1: what to multiply a score by so that higher is better."""
        return 1 if self.better == "higher" else -1

    def load(self) -> ModuleScore:
        """The function itself; loads torch."""
        return cast("ModuleScore", getattr(import_module(f"{__name__}.{self.file}"), self.function))


_ZERO_COST = "Abdelfattah et al. 2021, arXiv 2101.08134"
MODULE_PROXIES: Mapping[str, ModuleProxy] = MappingProxyType(
    {
        "grad_norm": ModuleProxy("grad_norm", "grad_norm", "higher", True, 1, 32, _ZERO_COST),
        "grad_norm_all": ModuleProxy(
            "grad_norm_all", "grad_norm", "higher", True, 1, 32, "Lin et al. 2021, arXiv 2102.01063"
        ),
        "snip": ModuleProxy("snip", "snip", "higher", True, 1, 32, "Lee et al. 2019, arXiv 1810.02340"),
        "grasp": ModuleProxy("grasp", "grasp", "higher", True, 2, 32, "Wang et al. 2020, arXiv 2002.07376"),
        "fisher": ModuleProxy("fisher", "fisher", "higher", True, 1, 32, _ZERO_COST),
        "fisher_channels": ModuleProxy(
            "fisher_channels", "fisher", "higher", True, 1, 32, "Turner et al. 2020, arXiv 1906.04113"
        ),
        "synflow": ModuleProxy("synflow", "synflow", "higher", False, 1, 1, "Tanaka et al. 2020, arXiv 2006.05467"),
        "synflow_bn": ModuleProxy("synflow_bn", "synflow", "higher", False, 1, 1, _ZERO_COST),
        "naswot": ModuleProxy("naswot", "naswot", "higher", False, 0, 32, "Mellor et al. 2021, arXiv 2006.04647"),
        "ntk": ModuleProxy("ntk_condition", "ntk", "lower", False, 1, 8, "Chen et al. 2021, arXiv 2102.11535"),
        "jacob_cov": ModuleProxy(
            "jacob_cov", "jacob_cov", "higher", False, 1, 32, "Mellor et al. 2020, arXiv 2006.04647 v1"
        ),
    }
)
"""Name of each proxy in text: command line, JSON, files of runs."""
