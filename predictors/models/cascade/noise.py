"""Noise injection: the training rows once more, with noise on their features and the same labels."""

from __future__ import annotations

import numpy as np

from predictors.regressor import Floats


def with_noisy_copy(features: Floats, labels: Floats, snr_db: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The rows, then the rows with Gaussian noise: twice as many.

    Args:
        features: (n, d).
        labels: (n,).
        snr_db: signal-to-noise ratio in decibels; the noise of a feature has its variance / 10^(snr_db / 10).
        rng: draws the noise.
    Returns: (2n, d) features and (2n,) labels.
    Source: Zhang et al. 2021, arXiv 2108.05613. Deviations: the authors take one variance over all features together,
        which is the same where all have one scale; and their copy has the same noise in every model, ours has not.
    """
    spread = features.std(axis=0) * 10 ** (-snr_db / 20)
    noisy = features + spread * rng.standard_normal(features.shape)
    return np.vstack([features, noisy]), np.concatenate([labels, labels])
