"""Scheduled grow-and-prune: partitions of a sparse network are dense in turn, so that pruned weights get a second try.

Source: Ma et al. 2022, "Effective Model Sparsification by Scheduled Grow-and-Prune Methods" (ICLR 2022,
arXiv 2106.09857).
"""

from nas.compress.gap.result import PruningEpoch, PruningResult
from nas.compress.gap.run import gap
from nas.compress.gap.settings import GapSettings, InvalidPruning, PruningSettings

__all__ = ["GapSettings", "InvalidPruning", "PruningEpoch", "PruningResult", "PruningSettings", "gap"]
