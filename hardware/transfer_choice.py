"""Which networks to measure on a new device, and what playing known devices as new ones teaches."""

from __future__ import annotations

from itertools import product

import numpy as np

from hardware.transfer import KnownDevices, Played, Rows, Settings, posterior

POWERS, ENCODINGS, NOISES = (0.6, 1.0), (0.01, 0.03, 0.1), (0.01, 0.03, 0.1)
DRAWS = 4  # of networks to measure, for every known device and settings
ASKED = 300  # networks that a player is scored on
LEAST_DEVICES = 3  # below, nothing can be learned by playing


def choose(known: KnownDevices, count: int, candidates: Rows | None = None, settings: Settings | None = None) -> Rows:
    """Positions of the networks whose measurement leaves the least uncertainty about all others, best first.

    Greedy: each choice is the network that lowers the summed posterior variance most. Unlike the extremes that
    k-centre picks, these are typical enough not to be corrupt rows.

    Args:
        known: devices and networks.
        count: of networks to choose.
        candidates: positions to choose from; all without it.
        settings: as of ``transfer``.
    """
    settings = settings or Settings()
    pool = np.arange(len(known.encoding)) if candidates is None else candidates
    covariance = known.covariance(pool, pool, settings)
    chosen: list[int] = []
    for _ in range(min(count, len(pool))):
        own = np.diag(covariance) + settings.noise
        gain = (covariance**2).sum(axis=0) / own
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(best)
        covariance = covariance - np.outer(covariance[:, best], covariance[best]) / own[best]
    return np.asarray(pool[chosen])


def play(known: KnownDevices, count: int, *, seed: int = 0, informed: bool = True) -> Played:
    """Settings and interval widths that serve best when each known device plays the new one.

    Args:
        known: devices and networks; with fewer than three devices the defaults are kept.
        count: of networks that will be measured.
        seed: of the draws.
        informed: whether networks will be chosen by ``choose`` (among 40 a network) or at random.
    """
    if known.log_ms.shape[1] < LEAST_DEVICES:
        return Played(Settings(), np.zeros((0, 0)))
    rng = np.random.default_rng(seed)
    games = []
    for device, _ in product(range(known.log_ms.shape[1]), range(DRAWS)):
        others = known.without(device)
        if not others.log_ms.shape[1]:
            continue
        order = rng.permutation(len(known.encoding))
        support = choose(others, count, order[: 40 * count]) if informed else order[:count]
        games.append((others, support, order[-ASKED:], known.log_ms[:, device]))
    if not games:  # all devices are of one maker
        return Played(Settings(), np.zeros((0, 0)))
    found = []
    for settings in (Settings(*values) for values in product(POWERS, ENCODINGS, NOISES)):
        widths, errors = [], []
        for others, support, asked, logs in games:
            mean_ms, log_std = posterior(others, settings, support, np.exp(logs[support]), asked)
            error = logs[asked] - np.log(mean_ms)
            errors.append(float(np.median(np.abs(error))) / max(1e-9, float(logs.std())))
            widths.append(np.quantile(error / log_std, np.linspace(0, 1, 201)))
        found.append((float(np.mean(errors)), settings, np.array(widths)))
    _, settings, best = min(found, key=lambda one: one[0])
    return Played(settings, best)
