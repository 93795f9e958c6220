"""Names that annotations share. Nothing here is needed at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self, TypedDict

    __all__ = ["Buffer", "Self", "TypeAlias", "TypedDict"]
