"""zmq.decorators: a context or a socket for each call."""

from __future__ import annotations

import importlib

import pytest


@pytest.fixture
def decorators(zmq):
    return importlib.import_module(f"{zmq.__name__}.decorators")


@pytest.mark.parametrize("form", ["positional", "str first", "name="])
def test_a_context_lasts_for_the_call(zmq, decorators, form):
    how = {
        "positional": ((), {}),
        "str first": (("ctx",), {}),
        "name=": ((), {"name": "ctx"}),
    }[form]

    @decorators.context(*how[0], **how[1])
    def function(ctx):
        assert isinstance(ctx, zmq.Context)
        assert not ctx.closed
        return ctx

    first, second = function(), function()
    assert first.closed
    assert first is not second


def test_the_other_arguments_are_for_what_is_made(zmq, decorators):
    @decorators.context("ctx", io_threads=3)
    @decorators.socket("push", zmq.PUSH, context_name="ctx")
    def function(ctx, push):
        return ctx.IO_THREADS, push.context is ctx, push.type

    assert function() == (3, True, zmq.PUSH)


def test_the_object_comes_after_the_positional_arguments(zmq, decorators):
    @decorators.context()
    def function(*args, **kwargs):
        assert isinstance(args[-1], zmq.Context)
        return args[:-1], kwargs

    assert function(1, 2, key=3) == ((1, 2), {"key": 3})


def test_a_closed_object_is_left_behind_also_by_an_exception(zmq, decorators):
    made = []

    @decorators.context("ctx")
    @decorators.socket("pull", zmq.PULL, context_name="ctx")
    def function(ctx, pull):
        made.extend([ctx, pull])
        raise KeyError("on purpose")

    with pytest.raises(KeyError, match="on purpose"):
        function()
    assert [thing.closed for thing in made] == [True, True]


@pytest.mark.parametrize("given", ["as keyword", "among the arguments", "by another name"])
def test_a_socket_is_made_by_the_context_of_the_call(zmq, ctx, decorators, given):
    @decorators.socket("s", zmq.PUB)
    def function(*args, **kwargs):
        return kwargs["s"].context

    @decorators.socket("s", zmq.PUB, context_name="other")
    def named(**kwargs):
        return kwargs["s"].context

    if given == "as keyword":
        assert function(context=ctx) is ctx
    elif given == "among the arguments":
        assert function(1, ctx) is ctx
    else:
        assert named(other=ctx) is ctx


def test_a_socket_without_a_context_is_made_by_the_process_wide_one(zmq, decorators):
    @decorators.socket(zmq.PUB)
    def function(pub):
        return pub.context

    context = function()
    assert context is zmq.Context.instance()
    context.term()


def test_two_uses_of_a_socket_decorator_do_not_share_the_context_name(zmq, ctx, decorators):
    @decorators.socket("one", zmq.PUB, context_name="mine")
    @decorators.socket("two", zmq.PUB)
    def function(one, two, mine, context):
        return one.context is mine, two.context is context

    with zmq.Context() as other:
        assert function(mine=ctx, context=other) == (True, True)


@pytest.mark.parametrize("call", [{"kwargs": {"ctx": 1}}, {"args": (1,)}])
def test_an_argument_that_is_already_there_is_a_type_error(decorators, call):
    @decorators.context("ctx")
    def function(ctx):
        return ctx

    with pytest.raises(TypeError, match="multiple values for argument 'ctx'"):
        function(*call.get("args", ()), **call.get("kwargs", {}))


def test_arguments_that_the_target_does_not_take_are_a_type_error(decorators):
    @decorators.context("ctx", no_such_thing=3)
    def function(ctx):
        return ctx

    with pytest.raises(TypeError):
        function()


def test_a_decorated_function_keeps_its_name(decorators):
    @decorators.context()
    def some_function(ctx):
        """Says so."""

    assert some_function.__name__ == "some_function"
    assert some_function.__doc__ == "Says so."
