"""Frames: how commits lie in a write-ahead segment.

A frame is a mark of four bytes that no payload contains, the payload's length, a CRC-32 over length and
payload, and the payload (ASCII JSON). One commit is one frame and is on disk before the next is begun, so a
crash can spoil the last frame only: a spoilt frame with a whole one after it was not left by a crash.
"""

import struct
import zlib
from dataclasses import dataclass

MARK = b"\xf7FT\xfe"
_HEAD = struct.Struct("<4sII")
HEAD_BYTES = _HEAD.size


@dataclass(frozen=True, slots=True)
class Scan:
    """What a segment's bytes hold."""

    payloads: list[bytes]
    """Of the whole frames, in order."""
    whole_bytes: int
    """Where the last whole frame ends; what lies behind it is a torn tail."""
    damaged_at: int | None
    """Where a spoilt frame begins that has a whole one after it; None if there is none."""


def encode_frame(payload: bytes) -> bytes:
    """Return the frame of a payload."""
    return _HEAD.pack(MARK, len(payload), _checksum(payload)) + payload


def scan_frames(content: bytes) -> Scan:
    """Read frames from the start up to the first that is not whole.

    Args:
        content: A segment's bytes.

    Returns:
        The payloads, and where and how the frames end.
    """
    payloads: list[bytes] = []
    position = 0
    while (payload := _payload_at(content, position)) is not None:
        payloads.append(payload)
        position += HEAD_BYTES + len(payload)
    damaged = position < len(content) and _whole_frame_after(content, position)
    return Scan(payloads=payloads, whole_bytes=position, damaged_at=position if damaged else None)


def _payload_at(content: bytes, position: int) -> bytes | None:
    if position + HEAD_BYTES > len(content):
        return None
    mark, length, checksum = _HEAD.unpack_from(content, position)
    start = position + HEAD_BYTES
    if mark != MARK or start + length > len(content):
        return None
    payload = content[start : start + length]
    return payload if _checksum(payload) == checksum else None


def _whole_frame_after(content: bytes, position: int) -> bool:
    while (position := content.find(MARK, position + 1)) >= 0:
        if _payload_at(content, position) is not None:
            return True
    return False


def _checksum(payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(len(payload).to_bytes(4, "little")))
