"""Zero-cost proxies: scores of networks that have never been trained. This much is torch-free."""

from predictors.proxies.failure import ProxyFailed
from predictors.proxies.zen import zen_score, zen_score_of_layers

__all__ = ["ProxyFailed", "zen_score", "zen_score_of_layers"]
