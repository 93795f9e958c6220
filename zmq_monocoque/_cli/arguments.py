"""The parser of the commands, and the values that they take.

What is no good is a usage error, before anything starts.
"""

from __future__ import annotations

import argparse
import difflib
import math
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs, but keeps the lines of examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return text
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """One that says which option or command was meant, and that of the command, not of the top.

    Options are written in full: what is short for one today is short for two tomorrow.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, **kwargs)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """What is unknown is an error here, where the options are known: an option before anything
        else, since what is missing may be missing because of it."""
        words = sys.argv[1:] if args is None else list(args)
        if option := self._unknown_option(words):
            self.error(f"unrecognized arguments: {option}{self._nearest(option)}")
        found, left = super().parse_known_args(words, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}{self._nearest(left[0])}")
        return found, left

    def _unknown_option(self, words: list[str]) -> str | None:
        """The first option that it does not have. What follows a command, or a program that is run,
        is theirs."""
        rest = any(a.nargs in (argparse.PARSER, argparse.REMAINDER) for a in self._actions)
        for word in words:
            option = word.partition("=")[0]
            if word == "--" or rest and not word.startswith("-"):
                return None
            if not word.startswith("-") or word == "-" or re.fullmatch(r"-\.?\d.*", word):
                continue
            known = self._option_string_actions
            if option not in known and (word.startswith("--") or word[:2] not in known):
                return option
        return None

    def _nearest(self, word: str) -> str:
        """Of the options and fixed words; or a short option for a long one that begins so, and the
        other way round."""
        options = list(self._option_string_actions)
        fixed = [str(choice) for action in self._actions for choice in action.choices or ()]
        said = nearest(word, [*options, *fixed])
        if said or not word.startswith("-"):
            return said
        # "-s" for "--seconds", "--module" for "-m".
        alike = [o for o in options if o.startswith(f"-{word}") or word.startswith(f"-{o}")]
        return nearest(alike[0], alike) if alike else ""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = ", ".join(map(str, action.choices))
            meant = nearest(str(value), map(str, action.choices))
            raise argparse.ArgumentError(action, f"{value!r} is none of {choices}{meant}")


def nearest(word: str, right: Iterable[str]) -> str:
    """A question that ends the sentence about a wrong word, if one of the right ones is like it."""
    found = difflib.get_close_matches(word, list(right), 1)
    return f"; did you mean {found[0]!r}?" if found else ""


def add_examples(command: argparse.ArgumentParser, examples: dict[str, str]) -> None:
    """Ends the help with commands, each with what it does."""
    lines = (f"  {line}\n      {what}" for line, what in examples.items())
    command.epilog = "examples:\n" + "\n".join(lines)
