"""Images of a data set as PNG data URIs."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def picture(image: npt.NDArray[np.uint8]) -> str:
    """Return an image, [H, W] or [C, H, W] with three channels, as a data URI.

    Source: PNG specification (third edition), sections 5 and 11.
    """
    pixels = image if image.ndim == 2 else image.transpose(1, 2, 0)
    height, width = pixels.shape[:2]
    colour = 0 if pixels.ndim == 2 else 2  # grey, or red, green and blue
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # each without a filter
    chunks = (
        _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
