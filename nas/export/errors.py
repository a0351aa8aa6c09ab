"""What can go wrong when a network is written or read back."""


class ExportFailed(RuntimeError):
    """The network could not be written; nothing was left behind."""


class InvalidPretrained(ValueError):
    """The folder does not hold a network that this release can read."""
