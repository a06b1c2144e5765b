"""PNG files whose bytes depend on the pixels alone, not on a compressor's version or the CPU.

Stored (uncompressed) deflate blocks: https://www.w3.org/TR/png/ and RFC 1951, section 3.2.4.
"""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2
BLOCK = 65_535  # bytes, the most that one stored block holds


def encode(pixels: bytes, width: int, height: int, channels: int) -> bytes:
    """Return the PNG of an 8-bit image, rows from the top."""
    row = width * channels
    lines = b"".join(b"\0" + pixels[y * row : (y + 1) * row] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, RGB if channels == 3 else GREY, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", _stored(lines)) + _chunk(b"IEND", b"")
    return SIGNATURE + chunks


def decode(content: bytes) -> bytes:
    """Return the pixels of an image that `encode` wrote."""
    width, height, _, colour = struct.unpack(">IIBB", content[16:26])
    start = content.index(b"IDAT")
    (size,) = struct.unpack(">I", content[start - 4 : start])
    lines = zlib.decompress(content[start + 4 : start + 4 + size])
    row = width * (3 if colour == RGB else 1)
    return b"".join(lines[y * (row + 1) + 1 : (y + 1) * (row + 1)] for y in range(height))


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _stored(content: bytes) -> bytes:
    blocks = [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]
    parts = [b"\x78\x01"]
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        parts.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    return b"".join(parts) + struct.pack(">I", zlib.adler32(content))
