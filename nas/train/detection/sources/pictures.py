"""One picture file -> RGB pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nas.train.images import InvalidDataset


def read_picture(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, turned as its EXIF orientation says; raises InvalidDataset."""
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidDataset(f"{path}: cannot be read as an image ({error})") from None
