"""Z85: 4 bytes as 5 printable characters. Source: ZeroMQ RFC 32."""

from __future__ import annotations

import operator
import struct

__all__ = ["Z85CHARS", "Z85MAP", "decode", "encode"]

#: The alphabet, by value.
Z85CHARS = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
#: The value of each character.
Z85MAP = {char: value for value, char in enumerate(Z85CHARS)}

_WEIGHTS = [85**4, 85**3, 85**2, 85, 1]


def encode(rawbytes: bytes | bytearray | memoryview) -> bytes:
    """``rawbytes`` as Z85; ValueError unless their number is a multiple of 4."""
    if len(rawbytes) % 4:
        raise ValueError(f"length must be multiple of 4, not {len(rawbytes)}")
    out = bytearray()
    for (word,) in struct.iter_unpack(">I", rawbytes):
        out += bytes(Z85CHARS[word // weight % 85] for weight in _WEIGHTS)
    return bytes(out)


def decode(z85bytes: str | bytes | bytearray | memoryview) -> bytes:
    """The Z85 of ``z85bytes`` as bytes.

    ValueError unless the length is a multiple of 5; KeyError for a character that is not of the
    alphabet; struct.error for five characters that stand for more than 4 bytes.
    """
    if isinstance(z85bytes, str):
        try:
            z85bytes = z85bytes.encode("ascii")
        except UnicodeEncodeError:
            raise ValueError("string argument should contain only ASCII characters") from None
    if len(z85bytes) % 5:
        raise ValueError(f"Z85 length must be multiple of 5, not {len(z85bytes)}")
    words = []
    for i in range(0, len(z85bytes), 5):
        digits = (Z85MAP[char] for char in z85bytes[i : i + 5])
        words.append(sum(map(operator.mul, digits, _WEIGHTS)))
    return struct.pack(f">{len(words)}I", *words)
