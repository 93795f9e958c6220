"""Options as attributes: which names are options, and what the owner is asked."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest


@pytest.fixture
def owner(zmq):
    """An AttributeSetter whose options are a dict."""
    base = importlib.import_module(f"{zmq.__name__}.sugar.attrsettr").AttributeSetter

    class Owner(base):
        declared: int
        given = 1

        def __init__(self):
            object.__setattr__(self, "options", {})

        def get(self, option):
            if option not in self.options:
                raise zmq.ZMQError(22)
            return self.options[option]

        def set(self, option, value):
            self.options[option] = value

    return Owner()


def test_a_name_in_any_case_is_the_option(zmq, owner):
    owner.linger = 5
    assert owner.options == {zmq.LINGER: 5}
    assert (owner.linger, owner.LINGER, owner.Linger) == (5, 5, 5)


def test_any_constant_counts_as_an_option(zmq, owner):
    owner.push = 3
    assert owner.options == {8: 3}
    assert owner.rate == 3


def test_what_a_class_declares_is_a_plain_attribute(owner):
    owner.given = 2
    owner.declared = 3
    owner.declared = 4
    assert owner.options == {}
    assert (owner.given, owner.declared) == (2, 4)


def test_what_the_instance_has_is_a_plain_attribute(owner):
    owner.__dict__["linger"] = 1
    owner.linger = 2
    assert owner.options == {}


@pytest.mark.parametrize("name", ["nope", "_private", "Enum", "socketoption", "errno"])
def test_other_names_are_no_options(owner, name):
    text = f"Owner has no such option: {name.upper()}"
    with pytest.raises(AttributeError, match=text):
        setattr(owner, name, 1)
    with pytest.raises(AttributeError, match=text):
        getattr(owner, name)
    assert not hasattr(owner, name)


def test_an_option_that_cannot_be_read_is_no_attribute(owner):
    with pytest.raises(AttributeError, match="linger attribute is write-only"):
        owner.linger  # noqa: B018


def test_other_errors_of_the_getter_are_not_hidden(zmq, owner):
    def get(option):
        raise zmq.ZMQError(zmq.ENOTSOCK)

    owner.__dict__["get"] = get
    with pytest.raises(zmq.ZMQError) as raised:
        owner.linger  # noqa: B018
    assert raised.value.errno == zmq.ENOTSOCK


def test_get_and_set_are_the_subclasss_to_write(zmq):
    base = importlib.import_module(f"{zmq.__name__}.sugar.attrsettr").AttributeSetter()
    with pytest.raises(NotImplementedError):
        base.get(1)
    with pytest.raises(NotImplementedError):
        base.set(1, 1)


def test_type_checkers_are_given_every_option_and_its_type(zmq, on_libzmq):
    """backend/_options.pyi, against the constants: a name in either case, int or bytes."""
    if on_libzmq:
        pytest.skip("our stubs")
    stub = Path(zmq.__file__).parent / "backend" / "_options.pyi"
    declared: dict[str, dict[str, str]] = {}
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.ClassDef):
            declared[node.name] = {
                line.target.id: line.annotation.id
                for line in node.body
                if isinstance(line, ast.AnnAssign)
            }
    constants = zmq.constants
    types = {
        name: "_Bytes" if option._opt_type is constants._OptType.bytes else "_Int"
        for name, option in constants.SocketOption.__members__.items()
    }
    both = {**types, **{name.lower(): kind for name, kind in types.items()}}
    # Methods, and attributes that Socket declares itself.
    own = {name: both.pop(name) for name in ("hwm", "subscribe", "unsubscribe", "type")}
    assert declared["SocketOptions"] == both
    of_contexts = [*constants.ContextOption.__members__]
    of_contexts += [name.lower() for name in of_contexts]
    assert declared["ContextOptions"] == {**own, **dict.fromkeys(of_contexts, "_Int")}
    of_messages = [*constants.MessageOption.__members__]
    of_messages += [name.lower() for name in of_messages if name != "MORE"]  # Frame.more is a bool
    assert declared["MessageOptions"] == dict.fromkeys(of_messages, "_Int")
