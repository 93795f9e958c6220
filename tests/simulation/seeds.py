"""Seeds that have found something, by name, with their story: ``seeds.toml``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from .case import Case, with_less

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(__file__).with_name("seeds.toml")


@dataclass(frozen=True)
class Named:
    name: str
    #: What it found, and what became of it.
    story: str
    case: Case


def named() -> list[Named]:
    seeds = tomllib.loads(FILE.read_text())["seed"]
    return [
        Named(
            entry["name"],
            entry["story"],
            with_less(Case(entry["seed"], driver=entry.get("driver")), entry.get("less", "")),
        )
        for entry in seeds
    ]
