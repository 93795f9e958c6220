"""Decorators that make a context or a socket for each call of a function, and close it after."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, TypeVar

import zmq_monocoque as zmq

__all__ = ("context", "socket")

_FunctionT = TypeVar("_FunctionT", bound=Callable[..., Any])
_Make = Callable[..., AbstractContextManager[Any]]


class _Decorator:
    """Calls ``target`` at every call of the function, and passes on what it makes.

    Positionally, after the arguments of the call; or as the keyword that ``name=``, or a str in
    the first place, gives. The other arguments of the decorator are for the target.
    """

    _target: _Make | None

    def __init__(self, target: _Make | None = None) -> None:
        self._target = target

    def __call__(self, *dec_args: Any, **dec_kwargs: Any) -> Callable[[_FunctionT], _FunctionT]:
        name, make_args, make_kwargs = self.process_decorator_args(*dec_args, **dec_kwargs)

        def decorator(func: _FunctionT) -> _FunctionT:
            @wraps(func)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                target = self.get_target(*args, **kwargs)
                assert target is not None, "neither a target nor a get_target of one's own"
                with target(*make_args, **make_kwargs) as made:
                    if name is None:
                        return func(*args, made, **kwargs)
                    if name in kwargs:
                        raise TypeError(
                            f"{func.__name__}() got multiple values for argument {name!r}"
                        )
                    return func(*args, **kwargs, **{name: made})

            return wrapper  # type: ignore[return-value]

        return decorator

    def get_target(self, *args: Any, **kwargs: Any) -> _Make | None:
        """What to call, given the arguments of the function."""
        return self._target

    def process_decorator_args(
        self, *args: Any, **kwargs: Any
    ) -> tuple[str | None, tuple[Any, ...], dict[str, Any]]:
        """The keyword to pass the object as (None: positionally), and the target's arguments."""
        name = kwargs.get("name")
        if isinstance(name, str):
            del kwargs["name"]
            return name, args, kwargs
        if args and isinstance(args[0], str):
            return args[0], args[1:], kwargs
        return None, args, kwargs


class _ContextDecorator(_Decorator):
    def __init__(self) -> None:
        super().__init__(zmq.Context)


class _SocketDecorator(_Decorator):
    # Each use of `socket` has a decorator of its own, for this.
    context_name = "context"

    def process_decorator_args(
        self, *args: Any, **kwargs: Any
    ) -> tuple[str | None, tuple[Any, ...], dict[str, Any]]:
        self.context_name = kwargs.pop("context_name", "context")
        return super().process_decorator_args(*args, **kwargs)

    def get_target(self, *args: Any, **kwargs: Any) -> _Make:
        found = kwargs.get(self.context_name)
        if isinstance(found, zmq.Context):
            return found.socket
        for arg in args:
            if isinstance(arg, zmq.Context):
                return arg.socket
        return zmq.Context.instance().socket


def context(*args: Any, **kwargs: Any) -> Callable[[_FunctionT], _FunctionT]:
    """Passes a new Context to the function, and destroys it afterwards.

    ``@context()``: after the positional arguments; ``@context("ctx")`` or ``name="ctx"``: by
    keyword. Other arguments are the Context's. The function raises TypeError when the keyword
    was given by its caller.
    """
    return _ContextDecorator()(*args, **kwargs)


def socket(*args: Any, **kwargs: Any) -> Callable[[_FunctionT], _FunctionT]:
    """Passes a new socket to the function, and closes it afterwards.

    ``@socket(zmq.PUSH)``, ``@socket("push", zmq.PUSH)``, ``@socket(zmq.PUSH, name="push")``, as
    for `context`. The socket is made by the Context that the function was given as
    ``context_name`` (default "context"), or else positionally, or else by Context.instance().
    """
    return _SocketDecorator()(*args, **kwargs)
