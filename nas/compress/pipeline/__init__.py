"""The whole way from a trained network to a smaller file: one recipe, stages in the order that each of them needs."""

from nas.compress.pipeline.compress import Compressed, compress, report
from nas.compress.pipeline.recipe import Compression, InvalidCompression
from nas.compress.pipeline.work import Work

__all__ = ["Compressed", "Compression", "InvalidCompression", "Work", "compress", "report"]
