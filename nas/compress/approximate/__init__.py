"""Convolutions approximated by cheaper ones: a grouped one and one of 1x1, or fewer filters and one of 1x1.

Source: Peng et al. 2018, "Extreme Network Compression via Filter Group Approximation" (ECCV 2018, arXiv 1807.11254).
"""

from nas.compress.approximate.network import Approximation, approximate
from nas.compress.approximate.settings import ApproximateSettings

__all__ = ["ApproximateSettings", "Approximation", "approximate"]
