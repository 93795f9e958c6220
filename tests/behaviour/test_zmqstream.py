"""tornado: ZMQStream's callbacks, flush and closing; and tornado's futures."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import pickle

import pytest
from support import TIMEOUT, Background, loops

IOLoop = pytest.importorskip("tornado.ioloop").IOLoop


@pytest.fixture
def stream_class(zmq):
    return importlib.import_module(zmq.__name__ + ".eventloop.zmqstream").ZMQStream


@pytest.fixture
def tornado_zmq(zmq):
    return importlib.import_module(zmq.__name__ + ".eventloop.future")


def run(test):
    asyncio.run(asyncio.wait_for(test(), TIMEOUT))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


@pytest.fixture
def pair(ctx, zmq):
    """Two connected sockets, PUSH and PULL."""
    return loops.pair(zmq, ctx)


@pytest.fixture
def tcp_pair(ctx, zmq):
    return loops.pair(zmq, ctx, address="tcp")


def test_every_message_is_called_back_once_and_in_order(tcp_pair, stream_class):
    """More of them than one turn of a stream, sent before and after the callback is there."""
    push, pull = tcp_pair

    async def test():
        got = []
        for i in range(100):
            push.send_multipart([b"%d" % i, b"end"])
        receiver = stream_class(pull)
        receiver.on_recv(got.append)
        for i in range(100, 200):
            push.send_multipart([b"%d" % i, b"end"])
        await until(lambda: len(got) == 200)
        assert got == [[b"%d" % i, b"end"] for i in range(200)]
        receiver.close()

    run(test)


def test_messages_that_are_there_cost_no_look_each(ctx, zmq, stream_class, on_libzmq):
    """With epoll each look is a system call."""
    if on_libzmq:
        pytest.skip("libzmq's stream looks twice a message")
    looks = []

    class Counting(zmq.Socket):
        def get(self, option):
            looks.append(option)
            return super().get(option)

    pull = ctx.socket(zmq.PULL, socket_class=Counting)
    pull.bind("inproc://counted")
    push = ctx.socket(zmq.PUSH)
    push.connect("inproc://counted")

    async def test():
        got = []
        for i in range(50):
            push.send(b"%d" % i)
        receiver = stream_class(pull)
        looks.clear()
        receiver.on_recv(got.append)
        await until(lambda: len(got) == 50)
        assert looks.count(zmq.EVENTS) < 10
        receiver.close()

    run(test)


def test_what_a_send_took_in_is_called_back(ctx, zmq, stream_class):
    """The answer comes while the send goes on: the descriptor does not tell of it."""

    class Slow(zmq.Socket):
        def send_multipart(self, message, **kwargs):
            status = super().send_multipart(message, **kwargs)
            assert self.poll(TIMEOUT * 1000)
            return status

    def answer():
        for _ in range(10):
            peer.send(peer.recv())

    peer, s = ctx.socket(zmq.DEALER), Slow(ctx, zmq.DEALER)
    s.connect(f"tcp://127.0.0.1:{peer.bind_to_random_port('tcp://127.0.0.1')}")

    async def test():
        answers = asyncio.Queue()
        stream = stream_class(s)
        stream.on_recv(answers.put_nowait)
        for number in range(10):
            stream.send(b"%d" % number)
            assert await answers.get() == [b"%d" % number]
        stream.close()

    answering = Background(answer)
    run(test)
    answering.result()


def test_frames_come_when_asked_for(pair, stream_class, zmq):
    push, pull = pair

    async def test():
        got = []
        receiver = stream_class(pull)
        receiver.on_recv_stream(lambda stream, parts: got.append((stream, parts)), copy=False)
        push.send(b"x")
        await until(lambda: got)
        [(stream, [frame])] = got
        assert stream is receiver
        assert isinstance(frame, zmq.Frame) and frame.bytes == b"x"
        receiver.close()

    run(test)


def test_sends_of_every_kind_are_queued_and_told_of(pair, stream_class):
    push, pull = pair

    async def test():
        sent, got = [], []
        sender, receiver = stream_class(push), stream_class(pull)
        receiver.on_recv(got.append)
        sender.on_send(lambda parts, tracker: sent.append(parts))
        sender.send(b"1")
        sender.send_multipart([b"2", b"3"])
        sender.send_string("é")
        sender.send_json({"a": 1})
        sender.send_pyobj((1,))
        assert sender.sending() and not sent
        await until(lambda: len(got) == 5)
        assert got[:3] == [[b"1"], [b"2", b"3"], ["é".encode()]]
        assert json.loads(got[3][0]) == {"a": 1}
        assert pickle.loads(got[4][0]) == (1,)
        assert sent == got
        assert not sender.sending()
        with pytest.raises(TypeError):
            sender.send_string(b"bytes")
        sender.close()
        receiver.close()

    run(test)


def test_the_callback_of_a_send_replaces_that_of_on_send(pair, stream_class):
    push, _ = pair

    async def test():
        first, second = [], []
        sender = stream_class(push)
        sender.on_send_stream(lambda stream, parts, tracker: first.append(parts))
        sender.send(b"1")
        await until(lambda: first)
        sender.send(b"2", callback=lambda parts, tracker: second.append(parts))
        await until(lambda: second)
        assert (first, second) == ([[b"1"]], [[b"2"]])
        sender.close()

    run(test)


def test_a_message_that_cannot_be_sent_is_not_in_the_way(pair, stream_class, caplog):
    push, pull = pair

    async def test():
        got = []
        sender, receiver = stream_class(push), stream_class(pull)
        receiver.on_recv(got.append)
        sender.send("a str")
        sender.send(b"bytes")
        await until(lambda: got)
        assert got == [[b"bytes"]]
        sender.close()
        receiver.close()

    run(test)
    assert "TypeError" in caplog.text


def test_without_a_callback_messages_stay_in_the_socket(pair, stream_class):
    push, pull = pair

    async def test():
        receiver = stream_class(pull)
        receiver.on_recv(lambda parts: None)
        receiver.stop_on_recv()
        assert not receiver.receiving()
        push.send(b"x")
        await asyncio.sleep(0.01)
        got = []
        receiver.on_recv(got.append)
        await until(lambda: got)
        receiver.close()

    run(test)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_callback_raises_is_logged_and_ends_nothing(
    pair, stream_class, caplog, asynchronous
):
    push, pull = pair

    async def test():
        got = []

        def callback(parts):
            got.append(parts)
            raise RuntimeError("on purpose")

        async def coroutine(parts):
            callback(parts)

        receiver = stream_class(pull)
        receiver.on_recv(coroutine if asynchronous else callback)
        push.send(b"1")
        push.send(b"2")
        await until(lambda: len(got) == 2)
        await asyncio.sleep(0)
        receiver.close()

    with caplog.at_level(logging.ERROR, "tornado.general"):
        run(test)
    texts = [r.getMessage() for r in caplog.records if r.name == "tornado.general"]
    assert texts == ["Uncaught exception in ZMQStream callback"] * 2


def test_flush_calls_back_at_once_and_counts(pair, stream_class, zmq):
    push, pull = pair

    async def test():
        got = []
        receiver = stream_class(pull)
        receiver.on_recv(got.append)
        for i in range(5):
            push.send(b"%d" % i)
        assert receiver.flush(zmq.POLLOUT) == 0
        assert receiver.flush(zmq.POLLIN, limit=2) == 2
        assert got == [[b"0"], [b"1"]]
        assert receiver.flush() == 3
        push.send(b"later")
        await until(lambda: len(got) == 6)
        receiver.close()

    run(test)


def test_flush_gives_the_rest_of_the_tick_to_others(pair, stream_class, zmq):
    push, pull = pair

    async def test():
        order = []
        receiver = stream_class(pull)
        receiver.on_recv(lambda parts: order.append(parts[0]))
        await asyncio.sleep(0.01)
        for i in range(3):
            push.send(b"%d" % i)
        receiver.flush(limit=1)
        asyncio.get_running_loop().call_soon(order.append, "other")
        await until(lambda: len(order) == 4)
        assert order == [b"0", "other", b"1", b"2"]
        receiver.close()

    run(test)


def test_flush_drops_what_nobody_wants(pair, stream_class):
    push, pull = pair

    async def test():
        receiver = stream_class(pull)
        push.send(b"x")
        assert receiver.flush() == 1
        assert receiver.flush() == 0
        receiver.close()

    run(test)


def test_closing_calls_back_and_closes_the_socket(pair, stream_class):
    push, _ = pair

    async def test():
        closed = []
        stream = stream_class(push)
        stream.set_close_callback(lambda: closed.append(1))
        stream.close()
        stream.close()
        assert closed == [1] and stream.closed() and push.closed
        with pytest.raises(OSError, match="closed"):
            stream.send(b"x")

    run(test)


def test_a_socket_closed_behind_its_stream_is_noticed(pair, stream_class):
    _, pull = pair

    async def test():
        stream = stream_class(pull)
        stream.on_recv(print)
        pull.close()
        with pytest.warns(UserWarning, match="Unregistering FD"):
            assert stream.closed()
        assert stream.socket is None

    run(test)


def test_an_asynchronous_socket_is_replaced_by_a_synchronous_one(zmq, stream_class):
    zaio = importlib.import_module(zmq.__name__ + ".asyncio")

    async def test():
        with zaio.Context() as context, context.socket(zmq.PULL) as pull:
            with pytest.warns(RuntimeWarning):
                stream = stream_class(pull)
            assert type(stream.socket) is zmq.Socket
            stream.close()
            assert pull.closed

    run(test)


def test_a_coroutine_that_flush_calls_runs_in_the_streams_loop(pair, stream_class, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq takes the current loop, if there is one")
    push, pull = pair
    loop = IOLoop(make_current=False)
    stream = stream_class(pull, loop)
    got = []

    async def receive(parts):
        got.append((parts, asyncio.get_running_loop()))
        loop.stop()

    stream.on_recv(receive)
    push.send(b"x")
    assert stream.flush() == 1
    loop.call_later(TIMEOUT, loop.stop)
    loop.start()
    assert got == [([b"x"], loop.asyncio_loop)]
    stream.close()
    loop.close()


# --- futures of tornado --------------------------------------------------------------------------


def test_tornado_sockets_answer_futures(zmq, tornado_zmq):
    async def test():
        with tornado_zmq.Context() as context:
            push, pull = loops.pair(zmq, context)
            waiting = pull.recv_json()
            await push.send_json([1])
            assert await waiting == [1]
            poller = tornado_zmq.Poller()
            poller.register(pull, zmq.POLLIN)
            assert await poller.poll(10) == []
            polled = poller.poll()
            await push.send(b"x")
            assert await polled == [(pull, zmq.POLLIN)]
            assert pull.recv().result() == b"x"
            context.destroy(linger=0)

    run(test)


def test_a_cancelled_tornado_future_raises_an_exception_of_its_own(zmq, tornado_zmq):
    async def test():
        with tornado_zmq.Context() as context:
            push, pull = loops.pair(zmq, context)
            cancelled, waiting = pull.recv(), pull.recv()
            assert cancelled.cancel() and cancelled.cancelled()
            with pytest.raises(tornado_zmq.CancelledError):
                await cancelled
            await push.send(b"x")
            assert await waiting == b"x"
            context.destroy(linger=0)

    run(test)
