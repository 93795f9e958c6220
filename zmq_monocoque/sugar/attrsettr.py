"""Options as attributes: ``socket.linger = 0``. Knows the constants; the owner does get and set."""

from __future__ import annotations

from errno import EFAULT, EINVAL
from typing import TYPE_CHECKING, Any

from zmq_monocoque import constants
from zmq_monocoque.error import ZMQError

__all__ = ["AttributeSetter"]


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
            if key in self.__dict__:
                object.__setattr__(self, key, value)
                return
            for cls in self.__class__.__mro__:
                if key in cls.__dict__ or key in getattr(cls, "__annotations__", ()):
                    object.__setattr__(self, key, value)
                    return
            name = key.upper()
            option = getattr(constants, name, None)
            if not isinstance(option, int):
                raise AttributeError(f"{self.__class__.__name__} has no such option: {name}")
            self._set_attr_opt(name, option, value)

        def __getattr__(self, key: str) -> Any:
            name = key.upper()
            option = getattr(constants, name, None)
            if not isinstance(option, int):
                raise AttributeError(f"{self.__class__.__name__} has no such option: {name}")
            try:
                return self._get_attr_opt(name, option)
            except ZMQError as error:
                # hasattr(), dir()-driven tools and mocks must meet an AttributeError here.
                if error.errno in (EINVAL, EFAULT):
                    raise AttributeError(f"{key} attribute is write-only") from None
                raise

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
