"""Options as attributes: ``socket.linger = 0``. Knows the constants; the owner does get and set."""

from __future__ import annotations

from errno import EFAULT, EINVAL
from typing import TYPE_CHECKING, Any

from zmq_monocoque import constants
from zmq_monocoque.error import ZMQError, _add_note

__all__ = ["AttributeSetter", "SocketOptionReader", "is_reader"]


class AttributeSetter:
    """Any attribute that no class declares is an option, by its name in any case.

    The name may be that of any constant, not only of an option of the owner: the owner's ``get``
    and ``set`` judge the number. That is pyzmq's rule, and programs rely on it for options that
    came after them.
    """

    # Type checkers are given the options one by one (backend/_options.pyi), so that a name that is
    # none is an error.
    if not TYPE_CHECKING:

        def __setattr__(self, key: str, value: Any) -> None:
            if key in self.__dict__ or self._zm_declares(key):
                object.__setattr__(self, key, value)
                return
            try:
                name, option = self._zm_option(key)
            except AttributeError as error:
                self._zm_name_nearest(error, key)
                raise
            self._set_attr_opt(name, option, value)

        def __getattr__(self, key: str) -> Any:
            name, option = self._zm_option(key)
            try:
                return self._get_attr_opt(name, option)
            except ZMQError as error:
                # hasattr(), dir()-driven tools and mocks must meet an AttributeError here.
                if error.errno in (EINVAL, EFAULT):
                    raise AttributeError(f"{key} attribute is write-only") from None
                raise

    def _zm_declares(self, key: str) -> bool:
        """Does a class have an attribute of this name, or an annotation?"""
        for cls in self.__class__.__mro__:
            if cls is SocketOptionReader:
                continue
            if key in cls.__dict__ or key in getattr(cls, "__annotations__", ()):
                return True
        return False

    def _zm_option(self, key: str) -> tuple[str, int]:
        """The name of the option as constants have it, and its number. AttributeError: no such."""
        name = key.upper()
        option = getattr(constants, name, None)
        if not isinstance(option, int):
            raise AttributeError(f"{self.__class__.__name__} has no such option: {name}")
        return name, option

    def _zm_name_nearest(self, error: AttributeError, key: str) -> None:
        """Adds which option was meant, where one was set. (Of a name that is read Python says it
        itself, and hasattr() has to stay quick.)"""
        names = *constants.ContextOption.__members__, *constants.SocketOption.__members__
        _add_note(error, "of_name", key, names)

    def _set_attr_opt(self, name: str, opt: int, value: Any) -> None:
        """To be overridden where an attribute is not simply an option that is set."""
        self.set(opt, value)

    def _get_attr_opt(self, name: str, opt: int) -> Any:
        """To be overridden where an attribute is not simply an option that is read."""
        return self.get(opt)

    def get(self, option: int) -> Any:
        """The owner's getter of options."""
        raise NotImplementedError("override in subclass")

    def set(self, option: int, value: Any) -> None:
        """The owner's setter of options."""
        raise NotImplementedError("override in subclass")


class _Reader:
    """A name of an option: read, it is what ``__getattr__`` answers."""

    __slots__ = ("_key",)

    def __init__(self, key: str):
        self._key = key

    def __get__(self, owner: Any, owner_class: Any = None) -> Any:
        return self if owner is None else owner.__getattr__(self._key)


def _spellings(constant: str) -> set[str]:
    words = constant.replace("SND", "SND ").replace("RCV", "RCV ").replace("_", "_ ").split()
    return {constant, constant.lower(), "".join(map(str.capitalize, words))}


def _readers() -> dict[str, _Reader]:
    options = [name for name, value in vars(constants).items() if isinstance(value, int)]
    return {key: _Reader(key) for name in options for key in _spellings(name)}


class SocketOptionReader(AttributeSetter):
    """An AttributeSetter whose methods are called a million times a second.

    With ``__getattr__`` in the way, Python (to 3.11) takes as long to find `Socket.recv` as to call
    it. So it is not asked: the names that it knows stand in the class, in lower and in upper case
    and as ``SndHwm``. They are read through ``__getattr__`` all the same, which a subclass may have
    written anew; such a subclass is looked through in the slower way.
    """

    # At once: each one that is set later would make Python forget what it knows of the class.
    vars().update(_readers())

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own: Any = cls
        if (
            own.__getattr__ is AttributeSetter.__dict__["__getattr__"]
            and own.__getattribute__ is object.__getattribute__
        ):
            own._zm_plain_lookup()

    if not TYPE_CHECKING:

        def __setattr__(self, key: str, value: Any) -> None:
            # A look into __dict__, as AttributeSetter has it, would make a dict of the attributes,
            # with which methods are found more slowly again.
            if not self._zm_declares(key):
                try:
                    name, option = self._zm_option(key)
                except AttributeError as error:
                    if key not in self.__dict__:
                        self._zm_name_nearest(error, key)
                        raise
                else:
                    self._set_attr_opt(name, option, value)
                    return
            object.__setattr__(self, key, value)


def is_reader(attribute: object) -> bool:
    """Is it one of a class's names of options?"""
    return isinstance(attribute, _Reader)
