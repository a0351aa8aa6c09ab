"""When masks change, and how many channels come back.

Source: Hou et al. 2022, CHEX (arXiv 2203.15794): d_t = d0 / 2 (1 + cos(pi t / T_max)).
"""

from __future__ import annotations

import math

from nas.compress.chex.settings import ChexSettings, InvalidChex


def last_change(settings: ChexSettings, epochs: int) -> int:
    """Finished epochs when masks change for the last time (T_max): at least 1, at least one before the end.

    Raises: InvalidChex: fewer than two epochs.
    """
    if epochs < 2:
        raise InvalidChex(f"chex: recipe.epochs={epochs}, expected at least 2: one to explore, one with final masks")
    return min(max(1, round(settings.explore * epochs)), epochs - 1)


def changes_at(settings: ChexSettings, epoch: int, last: int) -> bool:
    """Whether masks change before an epoch.

    Args:
        settings: the interval.
        epoch: finished ones.
        last: of ``last_change``.
    """
    return epoch == last or (epoch < last and epoch % settings.interval == 0)


def regrow_share(settings: ChexSettings, epoch: int, last: int) -> float:
    """d_t, the share of all channels that comes back at a change; 0 at the last one."""
    return settings.regrow / 2 * (1 + math.cos(math.pi * min(epoch, last) / last))
