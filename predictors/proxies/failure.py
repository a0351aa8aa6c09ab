"""The one error of all proxies."""


class ProxyFailed(ValueError):
    """This network has no such score; the message names the layer, what it is and what was expected."""
