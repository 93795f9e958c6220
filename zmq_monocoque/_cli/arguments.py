"""Values that commands take: what is no good for one is a usage error, before anything starts."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

#: A run longer than this is a slip of the keyboard.
SECONDS_MAX = 86_400.0


def seconds(text: str) -> float:
    """How long something lasts."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds above 0, and at most {SECONDS_MAX:,.0f}"
        )
    return value


def count(text: str) -> int:
    """How often something is done."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return value


def output_file(text: str) -> str:
    """Where something will be written, in the end: it had better be possible."""
    path = Path(text)
    if not text or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {str(path.parent)!r}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written")
    return text


def picture_file(text: str) -> str:
    """As `output_file`, with an ending that says which kind of picture."""
    if Path(text).suffix not in (".svg", ".png", ".pdf"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .svg, .png or .pdf")
    return output_file(text)
