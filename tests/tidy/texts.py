"""The repository's own files: not what tools have made there, nor somebody's environment."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Directories that hold what tools made, or that git does not know.
MADE = {".git", ".tox", "build", "dist", "__pycache__", "corpus"}


def is_environment(directory: Path) -> bool:
    """A virtual one, whatever it is called."""
    return (directory / "pyvenv.cfg").exists()


def own_files(suffixes: set[str], *but: str) -> list[Path]:
    """Those with one of the suffixes, and with no part of their path in ``but``."""
    skipped = {*MADE, *but}
    return sorted(
        path
        for top in ROOT.iterdir()
        if not is_environment(top)
        for path in [top, *top.rglob("*")]
        if path.suffix in suffixes
        and not skipped & set(path.relative_to(ROOT).parts)
        and path.is_file()
    )
