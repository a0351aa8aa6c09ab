"""The built-in default: scikit-learn's 1,797 handwritten digits of 8x8 pixels."""

from __future__ import annotations

import numpy as np

from nas.train.images import RawData

_DIGITS_MAX = 16  # scikit-learn's grey levels run from 0 to 16


def read_digits() -> RawData:
    """Images (1797, 8, 8) float32 in 0..1.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (test part).
    """
    from sklearn.datasets import load_digits  # heavy: only when asked for

    images, labels = load_digits(return_X_y=True)
    pixels = (np.asarray(images, dtype=np.float32) / _DIGITS_MAX).reshape(-1, 8, 8)
    return RawData((pixels, labels))
