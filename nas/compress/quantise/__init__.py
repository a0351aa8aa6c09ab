"""Post-training quantisation: from a float network and a few hundred images without labels to integers."""

from nas.compress.quantise.network import quantise_network
from nas.compress.quantise.placement import left_in_float
from nas.compress.quantise.quantised import Grid, Quantised, WeightCodes
from nas.compress.quantise.settings import QuantiseSettings
from nas.compress.quantise.simulate import float_network, simulated

__all__ = [
    "Grid",
    "QuantiseSettings",
    "Quantised",
    "WeightCodes",
    "float_network",
    "left_in_float",
    "quantise_network",
    "simulated",
]
