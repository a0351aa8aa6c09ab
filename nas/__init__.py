"""netwright: search networks under a latency budget, train, export and verify them.

from nas import search
run = search(data="digits", latency="0.3ms", out="runs/digits")
run.pareto(); run.best(latency_ms=0.2)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.api import from_pretrained, resume, save_pretrained, search, trust, tune
    from nas.client import Client
    from nas.config import Config
    from nas.records import Budget, Candidate, Constraint, Failure, Success
    from nas.run import Run

_HOMES = {
    "search": "nas.api",
    "resume": "nas.api",
    "trust": "nas.api",
    "tune": "nas.api",
    "from_pretrained": "nas.api",
    "save_pretrained": "nas.api",
    "Client": "nas.client",
    "Config": "nas.config",
    "Budget": "nas.records",
    "Candidate": "nas.records",
    "Constraint": "nas.records",
    "Failure": "nas.records",
    "Success": "nas.records",
    "Run": "nas.run",
}
__all__ = [
    "Budget",
    "Candidate",
    "Client",
    "Config",
    "Constraint",
    "Failure",
    "Run",
    "Success",
    "from_pretrained",
    "resume",
    "save_pretrained",
    "search",
    "trust",
    "tune",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that importing the package stays fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
