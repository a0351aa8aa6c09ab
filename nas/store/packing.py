"""Designs as few bytes: raw deflate against a dictionary of the run's own first designs.

Mutants are near their parents and all members of a space look alike, so that some 40 bytes are left of the 300 to
1,500 of the JSON text. The dictionary is a fact of the run; a design is checked against its digest when it is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from search_spaces.arch import Architecture

DICTIONARY = "design_dictionary"  # name of the fact
_WINDOW_BITS, _MEMORY, _LEVEL = 12, 5, 6  # a small state: it is copied for every design
_DICTIONARY_BYTES = (1 << _WINDOW_BITS) - 600  # what the window reaches while a design is packed
_DIGEST_BYTES = 10


def dictionary_of(archs: Iterable[Architecture]) -> str:
    """A dictionary made of the texts of some designs, each once."""
    texts: list[str] = []
    left = _DICTIONARY_BYTES
    for text in dict.fromkeys(arch.to_json() for arch in archs):
        size = len(text.encode())
        if texts and size > left:
            break
        texts.append(text)
        left -= size
    return "".join(texts)


class Packer:
    """Packs and reads the designs of one run.

    Attributes:
        dictionary: of the run.
    """

    def __init__(self, dictionary: str) -> None:
        self.dictionary = dictionary
        self._dictionary = dictionary.encode()
        self._fresh = zlib.compressobj(
            _LEVEL, zlib.DEFLATED, -_WINDOW_BITS, _MEMORY, zlib.Z_DEFAULT_STRATEGY, self._dictionary
        )

    def pack(self, text: str) -> bytes:
        """The JSON text of a design as bytes."""
        packing = self._fresh.copy()
        return packing.compress(text.encode()) + packing.flush()

    def unpack(self, packed: bytes) -> str:
        """The JSON text of a design; raises ValueError."""
        unpacking = zlib.decompressobj(-_WINDOW_BITS, self._dictionary)
        try:
            text = unpacking.decompress(packed).decode()
        except zlib.error:
            raise ValueError("a design cannot be unpacked") from None
        if not unpacking.eof or unpacking.unused_data:
            raise ValueError("a design is cut off")
        return text


def digest_text(stored: bytes | str) -> str:
    """The digest in hexadecimal digits, as ``Architecture.digest``; raises ValueError."""
    if isinstance(stored, str):  # version 1
        return stored
    if len(stored) != _DIGEST_BYTES:
        raise ValueError("a digest has the wrong length")
    return stored.hex()
