"""FLAC files of silence: a format simple enough, for silence, to be written without an encoder.

Source: RFC 9639. Every block is one frame whose channels are constant zero.
"""

import struct
from collections.abc import Mapping

BLOCK_SAMPLES = 4096
BITS_PER_SAMPLE = 16


def silence(*, samples: int, sample_rate: int, channels: int, comments: Mapping[str, str]) -> bytes:
    """A FLAC file of so many samples of silence, with its comments. Rates up to 655,350 Hz, 1 to 8 channels."""
    packed = sample_rate << 44 | (channels - 1) << 41 | (BITS_PER_SAMPLE - 1) << 36 | samples
    empty_md5 = bytes(16)
    stream = struct.pack(">HH", BLOCK_SAMPLES, BLOCK_SAMPLES) + bytes(6) + packed.to_bytes(8, "big") + empty_md5
    texts = _comments(comments)
    head = b"fLaC" + _block(0, stream, last=False) + _block(4, texts, last=True)
    frames = []
    for number, start in enumerate(range(0, samples, BLOCK_SAMPLES)):
        frames.append(_frame(number, min(BLOCK_SAMPLES, samples - start), channels))
    return head + b"".join(frames)


def _block(kind: int, content: bytes, *, last: bool) -> bytes:
    return bytes([kind | (0x80 if last else 0)]) + len(content).to_bytes(3, "big") + content


def _comments(comments: Mapping[str, str]) -> bytes:
    vendor = b"STAND-IN"
    lines = [f"{key}={value}".encode() for key, value in comments.items()]
    packed = [struct.pack("<I", len(line)) + line for line in (vendor, *lines)]
    return packed[0] + struct.pack("<I", len(lines)) + b"".join(packed[1:])


def _frame(number: int, samples: int, channels: int) -> bytes:
    """Fixed block size; size in 16 bits after the number; rate and depth as in the stream's head."""
    head = b"\xff\xf8" + bytes([0x70, (channels - 1) << 4]) + _coded(number) + struct.pack(">H", samples - 1)
    head += bytes([_crc(head, 8, 0x07)])
    body = head + (b"\x00" + bytes(BITS_PER_SAMPLE // 8)) * channels
    return body + struct.pack(">H", _crc(body, 16, 0x8005))


def _coded(number: int) -> bytes:
    """A frame number in the UTF-8-like form of the format."""
    if number < 0x80:
        return bytes([number])
    tail = []
    lead_bits = 6
    while number >= 1 << lead_bits:
        tail.append(0x80 | number & 0x3F)
        number >>= 6
        lead_bits -= 1
    mark = 0xFF << (lead_bits + 1) & 0xFF
    return bytes([mark | number, *reversed(tail)])


def _crc(content: bytes, width: int, polynomial: int) -> int:
    top, full = 1 << (width - 1), (1 << width) - 1
    value = 0
    for byte in content:
        value ^= byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & full
    return value
