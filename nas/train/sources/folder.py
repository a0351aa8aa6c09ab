"""Image folders: one sub-folder per class, optionally below train/, val/ and test/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nas.train.images import InvalidDataset, RawData

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
MAX_BYTES = 8 * 2**30
_PARTS = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}
_GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "F"})

Pixels = NDArray[np.uint8]  # (H, W) grey or (H, W, 3) colour


def has_class_folders(root: Path) -> bool:
    """Whether the folder has sub-folders, hence may be an image folder."""
    return bool(_sub_folders(root))


def read_folder(root: Path, size: int | None) -> RawData:
    """Read every image; grey if all are grey, else RGB.

    Args:
        root: with one sub-folder per class, or with train/ (and test/, val/) of such.
        size: side in pixels; the shorter side is resized to it and the centre kept. None keeps the images as
            they are, then all must agree.
    Raises: InvalidDataset: one class only, an empty class, an unreadable image, sizes that differ.
    """
    parts = {part: next((root / n for n in names if (root / n).is_dir()), None) for part, names in _PARTS.items()}
    if parts["train"] is None:
        parts = {"train": root, "validation": None, "test": None}
    train_root = parts["train"]
    assert train_root is not None
    classes = tuple(folder.name for folder in _sub_folders(train_root))
    if len(classes) < 2:
        raise InvalidDataset(
            f"{train_root}: {len(classes)} class folder(s) ({', '.join(classes) or 'none'}), expected at least two"
        )
    arrays = {part: _read_part(folder, classes, size) for part, folder in parts.items() if folder is not None}
    colour = any(image.ndim == 3 for images, _ in arrays.values() for image in images)
    stacked = {part: (_stack(root, images, colour), labels) for part, (images, labels) in arrays.items()}
    return RawData(stacked["train"], stacked.get("validation"), stacked.get("test"), classes)


def _sub_folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _read_part(root: Path, classes: tuple[str, ...], size: int | None) -> tuple[list[Pixels], NDArray[np.int64]]:
    unknown = sorted({folder.name for folder in _sub_folders(root)} - set(classes))
    if unknown:
        raise InvalidDataset(f"{root / unknown[0]}: a class that the training folder does not have")
    images: list[Pixels] = []
    labels: list[int] = []
    shape: tuple[int, ...] = ()
    for label, name in enumerate(classes):
        for path in _image_files(root / name):
            image = read_image(path, size)
            shape = shape or image.shape[:2]
            if image.shape[:2] != shape:
                raise InvalidDataset(
                    f"{path}: {_sides(image.shape)} pixels, the images before it have {_sides(shape)}; "
                    "add ?size=32 to resize"
                )
            images.append(image)
            labels.append(label)
    return images, np.array(labels, dtype=np.int64)


def _sides(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def _image_files(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    if not files:
        raise InvalidDataset(f"{folder}: no image in this class folder; add images or remove the folder")
    return files


def read_image(path: Path, size: int | None = None) -> Pixels:
    """One image as uint8: (H, W) when it is grey, else (H, W, 3); turned upright by its EXIF tag.

    Raises: InvalidDataset: the file is damaged or no image.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            image = _eight_bits(image) if image.mode in _GREY_MODES else image.convert("RGB")
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InvalidDataset(f"{path}: cannot be read as an image ({error}); remove or replace it") from None
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16B"):  # 16-bit grey; convert("L") would clip it
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("L")


def _stack(root: Path, images: list[Pixels], colour: bool) -> NDArray[Any]:
    """(N, C, H, W) uint8."""
    height, width = images[0].shape[:2]
    channels = 3 if colour else 1
    if (total := len(images) * channels * height * width) > MAX_BYTES:
        raise InvalidDataset(
            f"{root}: {total / 2**30:.0f} GiB of pixels, at most {MAX_BYTES / 2**30:.0f} fit; "
            f"add ?size={min(height, width) // 2}"
        )
    stacked = np.empty((len(images), channels, height, width), dtype=np.uint8)
    for at, image in enumerate(images):
        stacked[at] = image.transpose(2, 0, 1) if image.ndim == 3 else image
    return stacked
