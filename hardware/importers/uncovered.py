"""Rows of other projects that none of our blocks is."""


class Uncovered(ValueError):
    """No block of ours is this row; the message is the reason."""
