"""The one error of all proxies."""


class ProxyFailed(ValueError):
    """No such score for the network; the message names the layer, what it is and what was expected."""
