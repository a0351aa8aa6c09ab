"""Channel exploration: channels are pruned and regrown while a network trains, and cut off in the end.

Source: Hou et al. 2022, "CHEX: CHannel EXploration for CNN Model Compression"
(CVPR 2022, arXiv 2203.15794).
"""

from nas.compress.chex.result import ChexResult, MaskChange
from nas.compress.chex.run import chex
from nas.compress.chex.settings import ChexSettings, InvalidChex

__all__ = ["ChexResult", "ChexSettings", "InvalidChex", "MaskChange", "chex"]
