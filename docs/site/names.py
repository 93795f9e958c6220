"""Every public name of the package, and the one place where the reference explains it.

A module is public when no part of its path begins with an underscore; a name when it is in the
module's ``__all__``, or else is made there and does not begin with one. What several modules offer
is explained in one of them, and the others point there.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType
from typing import Any

PACKAGE = "zmq_monocoque"
#: Modules that pyzmq has for its own purposes, and we for programs that import them.
ASIDE = ("backend", "sugar", "constants", "error", "tests", "pyzmq_backend")


@dataclass
class Name:
    """``module.name`` is ``thing``; ``home`` is where it is explained, which may be elsewhere."""

    module: str
    name: str
    thing: Any
    home: str
    members: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def is_home(self) -> bool:
        return self.home == self.path


def is_aside(module: str) -> bool:
    return module.split(".")[1:2] != [] and module.split(".")[1] in ASIDE


def names_below(package: ModuleType) -> Iterator[str]:
    """The public modules below one. Not by walk_packages(), which imports the hidden ones, too: to
    import ``_shim.zmq`` makes the whole process take ``zmq`` for ours."""
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if info.name.rpartition(".")[2].startswith("_"):
            continue
        yield info.name
        if info.ispkg and (found := module_or_none(info.name)):
            yield from names_below(found)


def module_or_none(name: str) -> ModuleType | None:
    """A module; None: it is for users of a package that is not installed here."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(PACKAGE):
            raise
        return None


def modules(aside: bool = True) -> list[ModuleType]:
    """All public modules, those that programs import first in front; or these alone."""
    below = names_below(importlib.import_module(PACKAGE))
    found = [PACKAGE, *(name for name in below if aside or not is_aside(name))]
    found.sort(key=lambda name: (is_aside(name), name))
    return [module for name in found if (module := module_or_none(name))]


def names_of(module: ModuleType) -> list[str]:
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return sorted(set(listed))
    return sorted(
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    )


def is_ours(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "") or "").startswith(PACKAGE)


def members_of(cls: type) -> dict[str, Any]:
    """A class's public members, also those of bases that are ours. Options of sockets, which are
    names in the class, too, have pages of their own."""
    if issubclass(cls, Enum):
        return dict(cls.__members__)
    found = {}
    for base in reversed(cls.__mro__):
        if not is_ours(base) or base.__name__ == "SocketOptionReader":
            continue
        for name, thing in vars(base).items():
            if name.startswith("_") or isinstance(thing, (int, str, type(None), tuple, type)):
                continue
            if callable(thing) or isinstance(thing, (property, classmethod, staticmethod)):
                found[name] = thing
            elif inspect.isdatadescriptor(thing):
                found[name] = thing
    return dict(sorted(found.items()))


def public(aside: bool = True) -> list[Name]:
    """All of them, module after module."""
    homes: dict[int, str] = {}
    values: dict[tuple[str, int], str] = {}
    found = []
    for module in modules(aside):
        for name in names_of(module):
            if not hasattr(module, name):
                continue  # of a type checker
            thing = getattr(module, name)
            path = f"{module.__name__}.{name}"
            if isinstance(thing, ModuleType):
                continue
            home = path
            if (inspect.isroutine(thing) or inspect.isclass(thing)) and is_ours(thing):
                home = homes.setdefault(id(thing), path)
            elif inspect.isclass(thing) or inspect.isroutine(thing):
                home = f"{thing.__module__}.{thing.__qualname__}"  # Python's, or another's
            elif not isinstance(thing, Enum):
                home = values.setdefault((name, id(thing)), path)
            members = members_of(thing) if inspect.isclass(thing) and home == path else {}
            found.append(Name(module.__name__, name, thing, home, members))
    return found


def is_value(thing: Any) -> bool:
    """Neither a class nor a function, nor a constant that its enumeration explains?"""
    return not (inspect.isclass(thing) or inspect.isroutine(thing) or isinstance(thing, Enum))


def comment_of(name: Name) -> str:
    """The ``#:`` lines that explain a value, where a module of ours assigns it; "": there are none.
    They stand in front of its assignment, or of several in a row."""
    for module in list(sys.modules.values()):
        file = str(getattr(module, "__file__", ""))
        if not (getattr(module, "__name__", "").startswith(PACKAGE) and file.endswith(".py")):
            continue
        if vars(module).get(name.name) is not name.thing:
            continue
        lines: list[str] = []
        begins = True
        for line in inspect.getsource(module).splitlines():
            if line.startswith("#:"):
                lines = [*([] if begins else lines), line.removeprefix("#:").strip()]
                begins = False
            elif assigned := re.match(r"([\w, ]+?)(?:: [^=]+)? = ", line):
                begins = True
                if lines and name.name in re.split(", ?", assigned[1]):
                    return " ".join(lines)
            else:
                lines, begins = [], True
    return ""


def documented() -> Iterator[tuple[str, Any]]:
    """What needs a docstring: modules that programs import, their names, and these' members."""
    for module in modules(aside=False):
        yield module.__name__, module
    for name in public(aside=False):
        if not name.is_home or not (inspect.isclass(name.thing) or inspect.isroutine(name.thing)):
            continue
        yield name.path, name.thing
        if inspect.isclass(name.thing) and not issubclass(name.thing, Enum):
            for member, thing in name.members.items():
                yield f"{name.path}.{member}", getattr(name.thing, member, thing)
