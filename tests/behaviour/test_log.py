"""zmq.log: handlers, TopicLogger and the watcher."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import subprocess
import sys

import pytest
from support import TIMEOUT, module_source


@pytest.fixture
def handlers(zmq):
    return importlib.import_module(f"{zmq.__name__}.log.handlers")


@pytest.fixture
def pub(zmq, make):
    """An XPUB for the handler: it tells when a subscription has arrived."""
    s = make(zmq.XPUB, xpub_nodrop=True)
    s.bind("tcp://127.0.0.1:*")
    return s


@pytest.fixture
def sub(zmq, make, pub):
    s = make(zmq.SUB)
    s.connect(pub.last_endpoint.decode())
    s.subscribe("")
    assert pub.recv() == b"\x01"
    return s


@pytest.fixture
def handler(handlers, pub):
    handler = handlers.PUBHandler(pub)
    yield handler
    handler.close()


@pytest.fixture
def logger(handler):
    logger = logging.Logger("test", level=1)
    logger.addHandler(handler)
    return logger


@pytest.mark.parametrize("level", [10, 20, 30, 40, 50])
def test_the_topic_is_the_level_and_the_text_ends_the_line(logger, sub, level):
    logger.log(level, "the %s", "é")
    topic, text = sub.recv_multipart()
    assert topic.decode() == logging.getLevelName(level)
    assert "the é" in text.decode()
    assert text.endswith(b"\n")
    # INFO is for users, the others say where they come from.
    assert (b"test_log.py" in text) == (level != logging.INFO)


def test_the_root_topic_comes_first_and_a_sub_topic_last(logger, handler, sub):
    handler.setRootTopic("root")
    assert handler.root_topic == "root"
    for message, topic, text in [
        ("plain", b"root.INFO", b"plain\n"),
        ("db.pool::full", b"root.INFO.db.pool", b"full\n"),
        ("a::b::c", b"root.INFO.a", b"b::c\n"),
        ("::nothing", b"root.INFO", b"nothing\n"),
        (17, b"root.INFO", b"17\n"),
    ]:
        logger.info(message)
        assert sub.recv_multipart() == [topic, text]
    handler.root_topic = b"bytes"
    logger.info("x")
    assert sub.recv_multipart()[0] == b"bytes.INFO"


def test_a_delimiter_in_an_argument_is_text(logger, sub):
    logger.info("topic::%s", "a::b")
    assert sub.recv_multipart() == [b"INFO.topic", b"a::b\n"]


def test_other_handlers_see_the_message_as_it_was(logger, sub):
    seen = []
    other = logging.Handler()
    other.emit = lambda record: seen.append(record.getMessage())
    logger.addHandler(other)
    logger.info("topic::text")
    sub.recv_multipart()
    assert seen == ["topic::text"]


def test_a_formatter_is_for_one_level_or_for_all(logger, handler, sub):
    handler.setFormatter(logging.Formatter("ONE %(message)s"), logging.DEBUG)
    logger.debug("d")
    assert sub.recv_multipart() == [b"DEBUG", b"ONE d"]
    logger.info("i")
    assert sub.recv_multipart() == [b"INFO", b"i\n"]
    handler.setFormatter(logging.Formatter("ALL %(message)s"))
    for name in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, name)("x")
        assert sub.recv_multipart() == [name.upper().encode(), b"ALL x"]
    assert set(handler.formatters) == {10, 20, 30, 40, 50}


def test_a_level_without_a_formatter_is_published_all_the_same(logger, sub, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq prints a KeyError instead")
    logger.log(25, "between")
    assert sub.recv_multipart() == [b"Level 25", b"between"]


def test_a_handler_makes_its_own_socket_from_an_endpoint(zmq, ctx, handlers, ipc_address):
    handler = handlers.PUBHandler(ipc_address, ctx, root_topic="mine")
    assert handler.ctx is ctx
    assert handler.socket.type == zmq.PUB
    assert handler.socket.last_endpoint.decode() == ipc_address
    assert handler.root_topic == "mine"
    handler.socket.close()
    handler.close()


def test_an_endpoint_that_is_none_leaves_no_socket(zmq, ctx, handlers, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq leaves it")
    with pytest.raises(zmq.ZMQError):
        handlers.PUBHandler("nonsense", ctx)
    ctx.term()


def test_what_cannot_be_sent_does_not_break_the_program(logger, pub, monkeypatch, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq raises out of the logger")
    monkeypatch.setattr(logging, "raiseExceptions", False)
    pub.close()
    logger.info("nobody hears it")


@pytest.fixture
def topic_logger(handlers, handler):
    logger = handlers.TopicLogger("topics", level=1)
    logger.addHandler(handler)
    return logger


def test_a_topic_logger_takes_the_topic_first(topic_logger, sub):
    topic_logger.log(logging.INFO, "db.pool", "full: %d", 3)
    assert sub.recv_multipart() == [b"INFO.db.pool", b"full: 3\n"]


@pytest.mark.parametrize(
    ("method", "level"),
    [
        ("debug", b"DEBUG"),
        ("info", b"INFO"),
        ("warning", b"WARNING"),
        ("warn", b"WARNING"),
        ("error", b"ERROR"),
        ("critical", b"CRITICAL"),
        ("fatal", b"CRITICAL"),
    ],
)
def test_every_method_of_a_topic_logger_works(topic_logger, sub, on_libzmq, method, level):
    """In pyzmq 27.3.0 each of them raises TypeError."""
    if on_libzmq:
        pytest.skip("a defect of pyzmq's")
    getattr(topic_logger, method)("db", "full: %d", 3)
    topic, text = sub.recv_multipart()
    assert topic == level + b".db"
    assert b"full: 3" in text


def test_a_topic_logger_says_where_it_was_called(topic_logger, handler, sub, on_libzmq):
    if on_libzmq:
        pytest.skip("a defect of pyzmq's")
    handler.setFormatter(logging.Formatter("%(filename)s %(funcName)s"))
    here = "test_log.py test_a_topic_logger_says_where_it_was_called"
    topic_logger.info("t", "x")
    assert sub.recv_multipart()[1].decode() == here
    topic_logger.log(30, "t", "x")
    assert sub.recv_multipart()[1].decode() == here


def test_a_topic_logger_shows_the_exception(topic_logger, sub, on_libzmq):
    if on_libzmq:
        pytest.skip("a defect of pyzmq's")
    try:
        raise KeyError("on purpose")
    except KeyError:
        topic_logger.exception("t", "failed")
    topic, text = sub.recv_multipart()
    assert topic == b"ERROR.t"
    assert b"KeyError: 'on purpose'" in text


@contextlib.contextmanager
def watcher(zmq, pub, *options: str):
    """``python -m zmq.log``, subscribed; yields what reads a line. Ctrl-C has to end it well."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    code = module_source(zmq) + (
        "import runpy\n"
        f"sys.argv[:] = ['log', *{[pub.last_endpoint.decode(), *options]!r}]\n"
        f"runpy.run_module('{zmq.__name__}.log', run_name='__main__')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, encoding="utf-8"
    )
    try:
        assert pub.poll(int(TIMEOUT * 1000)), "the watcher did not subscribe"
        yield process.stdout.readline
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait(TIMEOUT)
        process.stdout.close()


def test_the_watcher_prints_topics_and_texts(zmq, pub):
    with watcher(zmq, pub) as line:
        assert pub.recv() == b"\x01"
        pub.send_multipart([b"root.INFO", "é\n".encode()])
        assert line() == "root.INFO | é\n"


def test_the_watcher_subscribes_to_a_topic_and_takes_a_separator(zmq, pub):
    with watcher(zmq, pub, "-t", "root.", "--separator=->") as line:
        assert pub.recv() == b"\x01root."
        pub.send_multipart([b"other", b"x"])
        pub.send_multipart([b"root.INFO", b"y"])
        assert line() == "root.INFO->y\n"


def test_the_watcher_aligns_topics(zmq, pub):
    with watcher(zmq, pub, "--align", "--separator=|") as line:
        pub.send_multipart([b"INFO.long.x", b"1"])
        pub.send_multipart([b"WARNING", b"2"])
        assert [line(), line()] == ["INFO.long.x|1\n", "WARNING.    . |2\n"]


def test_the_watcher_shows_the_time(zmq, pub):
    with watcher(zmq, pub, "--timestamp", "--dateformat=AT") as line:
        pub.send_multipart([b"INFO", b"1"])
        assert line() == "AT INFO | 1\n"


def test_the_watcher_colours_levels(zmq, pub, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq needs colorama for it")
    with watcher(zmq, pub, "--color") as line:
        pub.send_multipart([b"root.ERROR.x", b"1"])
        pub.send_multipart([b"other", b"2"])
        assert line() == "\x1b[31mroot.ERROR.x | 1\x1b[0m\n"
        assert line() == "other | 2\n"
