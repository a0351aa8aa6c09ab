"""The one error of all proxies."""


class ProxyFailed(ValueError):
    """The network has no score of this kind; the message names the layer, what it got and what it expected."""
