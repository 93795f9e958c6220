"""Constants: ours against pyzmq's, name by name. Names of our own begin with ``MONOCOQUE_``."""

from __future__ import annotations

import enum
import errno

import pytest


@pytest.fixture(scope="module")
def ours(zmq):
    return zmq.constants


@pytest.fixture(scope="module")
def theirs(pyzmq):
    return pyzmq.constants


def but_ours(names) -> list[str]:
    return [name for name in names if not name.startswith("MONOCOQUE_")]


def enums_of(module) -> dict[str, type[enum.Enum]]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, enum.Enum) and value.__module__ != "enum"
    }


def test_the_same_names_are_exported(ours, theirs):
    assert sorted(but_ours(ours.__all__)) == sorted(theirs.__all__)


def test_every_exported_name_has_pyzmqs_value_and_repr(ours, theirs):
    """Compares the whole namespace at once, so that a failure shows all that differ."""

    def inventory(module):
        values = {name: getattr(module, name) for name in but_ours(module.__all__)}
        return {
            name: (int(value), repr(value), str(value))
            for name, value in values.items()
            if not isinstance(value, type)
        }

    assert inventory(ours) == inventory(theirs)


def test_the_enums_have_pyzmqs_members_in_its_order(ours, theirs):
    def inventory(module):
        return {
            name: [(key, cls[key].name, cls[key].value) for key in but_ours(cls.__members__)]
            for name, cls in enums_of(module).items()
        }

    assert inventory(ours) == inventory(theirs)


def test_the_enums_have_pyzmqs_bases(ours, theirs):
    def inventory(module):
        return {name: cls.__mro__[1].__name__ for name, cls in enums_of(module).items()}

    assert inventory(ours) == inventory(theirs)


def test_every_socket_option_has_pyzmqs_type(ours, theirs):
    def inventory(module):
        return {
            name: module.SocketOption[name]._opt_type.name
            for name in but_ours(module.SocketOption.__members__)
        }

    assert inventory(ours) == inventory(theirs)


def test_every_member_is_a_global_by_identity(zmq, ours):
    prefixes = {
        "Event": "EVENT_",
        "NormMode": "NORM_",
        "ReconnectStop": "RECONNECT_STOP_",
        "RouterNotify": "NOTIFY_",
    }
    for cls_name, cls in enums_of(ours).items():
        if cls_name == "_OptType":
            continue
        for name, member in cls.__members__.items():
            prefix = "" if name.startswith("PROTOCOL_ERROR_") else prefixes.get(cls_name, "")
            assert getattr(zmq, prefix + name) is member


def test_the_name_of_each_event_comes_first_in_its_repr(zmq):
    for name, event in zmq.Event.__members__.items():
        assert repr(zmq.Event(event.value)).startswith(f"<Event.{event.name}"), name


def test_own_errnos_are_out_of_the_systems_way(zmq):
    assert (zmq.EFSM, zmq.ENOCOMPATPROTO, zmq.ETERM, zmq.EMTHREAD) == tuple(
        range(156384763, 156384767)
    )
    assert zmq.EAGAIN == errno.EAGAIN


def test_numbers_of_our_own_are_out_of_libzmqs_way(zmq):
    """libzmq's highest, drafts included, is 124 (zmq_draft.h of 4.3.5)."""
    own = [option for option in zmq.SocketOption if option.name.startswith("MONOCOQUE_")]
    assert [int(option) for option in own] == list(range(19712, 19712 + len(own)))
    assert max(option for option in zmq.SocketOption if option not in own) < 1000


def test_all_of_pyzmqs_top_level_names_are_there(zmq, pyzmq):
    assert sorted(set(but_ours(zmq.__all__))) == sorted(set(pyzmq.__all__))
    missing = [name for name in pyzmq.__all__ if not hasattr(zmq, name)]
    assert not missing
