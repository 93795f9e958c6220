"""The exceptions: classes, numbers, texts."""

from __future__ import annotations

import errno
import os

import pytest


def test_the_class_tree_is_pyzmqs(zmq):
    from_error = zmq.error
    assert issubclass(zmq.ZMQError, zmq.ZMQBaseError)
    assert not issubclass(zmq.ZMQError, OSError)
    assert issubclass(zmq.Again, zmq.ZMQError)
    assert issubclass(zmq.ContextTerminated, zmq.ZMQError)
    assert issubclass(zmq.InterruptedSystemCall, InterruptedError)
    assert issubclass(zmq.ZMQBindError, zmq.ZMQBaseError)
    assert not issubclass(zmq.ZMQBindError, zmq.ZMQError)
    assert issubclass(zmq.NotDone, zmq.ZMQBaseError)
    assert issubclass(zmq.ZMQVersionError, NotImplementedError)
    assert issubclass(from_error.DraftFDWarning, RuntimeWarning)


def test_the_exported_names_are_pyzmqs(zmq, pyzmq):
    assert sorted(zmq.error.__all__) == sorted(pyzmq.error.__all__)


def test_an_errno_brings_its_text(zmq):
    error = zmq.ZMQError(errno.EINVAL)
    assert (error.errno, error.strerror, str(error)) == (22, "Invalid argument", "Invalid argument")
    assert repr(error) == "ZMQError('Invalid argument')"
    assert error.args == (22,)


def test_a_text_of_ones_own_replaces_that_of_the_errno(zmq):
    assert str(zmq.ZMQError(errno.EINVAL, "no")) == "no"


def test_strerror_may_be_changed_and_shows(zmq):
    error = zmq.ZMQError(errno.EINVAL)
    error.strerror += " (more)"
    assert str(error) == "Invalid argument (more)"


def test_without_an_errno_it_is_the_threads_last_one(zmq, ctx):
    with pytest.raises(zmq.ZMQError):
        ctx.socket(zmq.PULL).get(999)
    assert zmq.zmq_errno() == errno.EINVAL
    assert zmq.ZMQError().errno == errno.EINVAL
    ctx.destroy(linger=0)


def test_zmq_error_itself_does_not_pick_a_subclass(zmq):
    assert type(zmq.ZMQError(errno.EAGAIN)) is zmq.ZMQError


@pytest.mark.parametrize(
    ("name", "number", "text"),
    [
        ("Again", errno.EAGAIN, os.strerror(errno.EAGAIN)),
        ("ContextTerminated", 156384765, "Context was terminated"),
    ],
)
def test_errors_of_one_errno_ignore_their_arguments(zmq, name, number, text):
    error = getattr(zmq, name)(5, "ignored")
    assert (error.errno, error.strerror, repr(error)) == (number, text, f"{name}({text!r})")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "Success"),
        (2, "No such file or directory"),
        (88, "Socket operation on non-socket"),
        (156384763, "Operation cannot be accomplished in current state"),
        (156384764, "The protocol is not compatible with the socket type"),
        (156384765, "Context was terminated"),
        (156384766, "No thread available"),
        (113, None),
        (99999, "Unknown error 99999"),
        (-1, "Unknown error -1"),
    ],
)
def test_strerror_knows_the_texts(zmq, pyzmq, number, text):
    assert zmq.strerror(number) == pyzmq.strerror(number)
    if text is not None:
        assert zmq.strerror(number) == text


def test_check_rc_raises_the_class_of_the_errno(zmq):
    check = zmq.error._check_rc
    assert check(0) is None
    for number, cls in [
        (errno.EAGAIN, zmq.Again),
        (errno.EINTR, zmq.InterruptedSystemCall),
        (156384765, zmq.ContextTerminated),
        (errno.EINVAL, zmq.ZMQError),
        (0, zmq.ZMQError),
    ]:
        with pytest.raises(zmq.ZMQError) as raised:
            check(-1, number)
        assert type(raised.value) is cls
        assert raised.value.errno == number
    assert check(-1, 0, False) is None


def test_a_version_that_is_too_old_is_named(zmq):
    zmq.error._check_version((4, 3, 5))
    with pytest.raises(zmq.ZMQVersionError) as raised:
        zmq.error._check_version((5, 0), "thing")
    assert str(raised.value) == "thing requires libzmq >= 5.0, have 4.3.5"
    assert raised.value.min_version == "5.0"


def test_calls_raise_the_subclass(zmq, make):
    s = make(zmq.PULL)
    with pytest.raises(zmq.Again) as raised:
        s.recv(zmq.DONTWAIT)
    assert raised.value.errno == zmq.EAGAIN
