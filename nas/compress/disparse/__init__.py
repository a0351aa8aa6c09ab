"""Pruning of one network for several tasks: a shared weight goes only when every task can do without it.

Source: Sun, Hassani, Wang, Huang, Shi 2022, "DiSparse: Disentangled Sparsification for Multitask Model Compression"
(CVPR 2022, arXiv 2206.04662).
"""

from nas.compress.disparse.result import DisparseResult
from nas.compress.disparse.settings import BASELINES, MODES, DisparseSettings
from nas.compress.disparse.training import disparse

__all__ = ["BASELINES", "MODES", "DisparseResult", "DisparseSettings", "disparse"]
