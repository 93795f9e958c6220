"""``zmq`` as another name of this package, so that programs written for pyzmq run on it unchanged.

`install` does it for this process. ``python -m zmq_monocoque switch``, or the distribution in
``compat/``, does it for an environment, and ``python -m zmq_monocoque run`` for one program; all
end up here.

One module has both names: ``zmq.error`` *is* ``zmq_monocoque.error``, so that an exception that is
raised under one name is caught under the other. Modules are still imported when they are asked for.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import Any
from warnings import warn

__all__ = ["alias", "install"]

OURS = __name__.partition(".")[0]
ALIAS = "zmq"


def install() -> None:
    """From now on ``import zmq`` in this process imports zmq_monocoque; a pyzmq that is installed
    is not looked at.

    Call it before anything imports ``zmq``. Where pyzmq was imported already, RuntimeWarning: what
    has imported it keeps it, and objects of the two do not mix.
    """
    before = sys.modules.get(ALIAS)
    if before is not None and before is not sys.modules[OURS]:
        path = getattr(before, "__file__", None)
        warn(
            f"zmq was imported before, from {path}: what imported it keeps that one, and only "
            f"imports from now on get {OURS}",
            RuntimeWarning,
            stacklevel=2,
        )
    alias()


def alias() -> None:
    """As `install`, whatever ``zmq`` was before."""
    ours = sys.modules[OURS]
    if sys.modules.get(ALIAS) is not ours:
        for name in [n for n in sys.modules if n == ALIAS or n.startswith(f"{ALIAS}.")]:
            del sys.modules[name]
        sys.modules[ALIAS] = ours
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds ``zmq`` and everything below it: there is nothing that ours does not have."""

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top, dot, rest = fullname.partition(".")
        if top != ALIAS:
            return None
        # None, too, answers the question: below ours, no other finder finds anything.
        original = find_spec(OURS + dot + rest)
        if original is None:
            return None
        spec = ModuleSpec(
            fullname,
            _Loader(original),
            origin=original.origin,
            is_package=original.submodule_search_locations is not None,
        )
        if original.submodule_search_locations is not None:
            spec.submodule_search_locations = list(original.submodule_search_locations)
        spec.has_location = original.has_location
        return spec


class _Loader(Loader):
    """Hands out a module that has another name already."""

    def __init__(self, original: ModuleSpec) -> None:
        self._original = original

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._original.name)
        # The import that is under way puts its own in place: see exec_module.
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has run already; it only gets back what the import system wrote over."""
        module.__spec__ = self._spec

    # What `python -m` and inspect ask a loader for, besides.

    def get_code(self, fullname: str) -> CodeType | None:
        loader: Any = self._original.loader
        return loader.get_code(self._original.name)

    def get_source(self, fullname: str) -> str | None:
        loader: Any = self._original.loader
        return loader.get_source(self._original.name)

    def get_filename(self, fullname: str) -> str:
        loader: Any = self._original.loader
        return loader.get_filename(self._original.name)

    def is_package(self, fullname: str) -> bool:
        return self._original.submodule_search_locations is not None
