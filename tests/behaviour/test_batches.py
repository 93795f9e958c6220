"""recv_many and send_many: many messages in one call, and what holds of one call of recv or send.

Ours; pyzmq has neither. docs/howto/batches.md says what they promise.
"""

from __future__ import annotations

import asyncio
import importlib
import signal
import threading

import pytest
from support import TIMEOUT, Signals, fresh_inproc


@pytest.fixture
def context(ctx):
    return ctx


@pytest.fixture(autouse=True)
def ours(on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq has no such calls")


@pytest.fixture(params=["inproc", "tcp", "ipc"])
def endpoint(request, ipc_address):
    return {"inproc": fresh_inproc(), "tcp": "tcp://127.0.0.1:*", "ipc": ipc_address}[request.param]


@pytest.fixture
def pair(context, zmq, endpoint):
    """pair("PUSH PULL", name=value): two connected sockets, the first one bound."""

    def make(kinds="PUSH PULL", **options):
        sockets = [context.socket(getattr(zmq, kind)) for kind in kinds.split()]
        for s in sockets:
            s.rcvtimeo = s.sndtimeo = 30_000
            for name, value in options.items():
                setattr(s, name, value)
        sockets[0].bind(endpoint)
        sockets[1].connect(sockets[0].LAST_ENDPOINT.decode())
        return sockets

    return make


def take(s, count, **kwargs):
    """``count`` messages, in as many calls as it needs."""
    messages = []
    while len(messages) < count:
        batch = s.recv_many(count - len(messages), **kwargs)
        assert batch
        messages += batch
    return messages


# --- messages ------------------------------------------------------------------------------------


def test_what_send_many_sends_recv_many_receives(pair):
    push, pull = pair()
    messages = [b"one", b"", [b"two", b"parts"], b"x" * 300_000, bytearray(b"buffer"), [b"last"]]
    assert push.send_many(messages) == len(messages)
    assert take(pull, len(messages)) == [
        b"one",
        b"",
        [b"two", b"parts"],
        b"x" * 300_000,
        b"buffer",
        b"last",
    ]


def test_a_batch_can_be_passed_on_as_it_is(pair, zmq, context):
    push, pull = pair()
    messages = [b"a", [b"b", b"c"], b"d"] * 10
    out, end = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    end.rcvtimeo = 30_000
    end.bind(fresh_inproc())
    out.connect(end.LAST_ENDPOINT.decode())
    push.send_many(messages)
    passed = 0
    while passed < len(messages):
        passed += out.send_many(pull.recv_many(7))
    assert take(end, len(messages)) == messages


def test_with_multipart_each_message_is_a_list(pair):
    push, pull = pair()
    push.send_many([b"one", [b"two", b"parts"]])
    assert take(pull, 2, multipart=True) == [[b"one"], [b"two", b"parts"]]


def test_without_copy_messages_are_frames(pair, zmq):
    push, pull = pair()
    push.send_many([b"one", [b"two", b"parts"], b"x" * 100_000], copy=False)
    one, two, large = take(pull, 3, copy=False)
    assert isinstance(one, zmq.Frame) and one.bytes == b"one" and not one.more
    assert [(f.bytes, f.more) for f in two] == [(b"two", True), (b"parts", False)]
    assert large.bytes == b"x" * 100_000
    push.send_many([one, two])
    assert take(pull, 2, multipart=True) == [[b"one"], [b"two", b"parts"]]
    push.send_many([b"1"])
    assert [[f.bytes for f in m] for m in take(pull, 1, copy=False, multipart=True)] == [[b"1"]]


def test_a_batch_holds_no_more_than_max(pair):
    push, pull = pair()
    push.send_many([b"%d" % i for i in range(10)])
    got = pull.recv_many(4)
    assert 1 <= len(got) <= 4
    assert got + take(pull, 10 - len(got)) == [b"%d" % i for i in range(10)]


def test_a_message_that_was_begun_comes_first_with_its_rest(pair):
    push, pull = pair()
    push.send_many([[b"1", b"2", b"3"], b"4"])
    assert pull.recv() == b"1"
    assert take(pull, 2) == [[b"2", b"3"], b"4"]
    assert not pull.rcvmore


def test_many_messages_arrive_in_order(pair):
    push, pull = pair()
    count = 20_000
    got = []
    t = threading.Thread(target=lambda: got.extend(take(pull, count)))
    t.start()
    messages = [b"%d" % i for i in range(count)]
    for i in range(0, count, 500):
        assert push.send_many(messages[i : i + 500]) == 500
    t.join(TIMEOUT)
    assert got == messages


def test_an_iterator_of_messages_will_do(pair):
    push, pull = pair()
    assert push.send_many(b"%d" % i for i in range(3)) == 3
    assert push.send_many([]) == 0
    assert take(pull, 3) == [b"0", b"1", b"2"]


# --- waiting -------------------------------------------------------------------------------------


def test_recv_many_waits_for_the_first_message_only(pair):
    push, pull = pair()
    got = []
    t = threading.Thread(target=lambda: got.append(pull.recv_many(100)))
    t.start()
    push.send(b"x")
    t.join(TIMEOUT)
    assert got == [[b"x"]]


def test_without_a_message_there_is_again(pair, zmq):
    _, pull = pair()
    with pytest.raises(zmq.Again):
        pull.recv_many(5, flags=zmq.DONTWAIT)
    pull.rcvtimeo = 10
    with pytest.raises(zmq.Again):
        pull.recv_many(5)


@pytest.mark.parametrize("how", ["DONTWAIT", "SNDTIMEO 0", "SNDTIMEO"])
def test_a_full_queue_ends_a_batch_and_then_refuses_one(context, zmq, how):
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.sndhwm = pull.rcvhwm = 5
    push.bind(fresh_inproc())
    pull.connect(push.LAST_ENDPOINT.decode())
    flags = zmq.DONTWAIT if how == "DONTWAIT" else 0
    push.sndtimeo = 0 if how == "SNDTIMEO 0" else 20
    messages = [b"%d" % i for i in range(30)]
    sent = push.send_many(messages, flags=flags)
    assert 0 < sent < 30
    with pytest.raises(zmq.Again):
        push.send_many(messages[sent:], flags=flags)
    assert pull.recv_many(100) == messages[:sent]


def test_send_many_waits_for_room(context, zmq, pair):
    push, pull = pair(sndhwm=5, rcvhwm=5)
    messages = [b"%d" % i for i in range(1000)]
    sent = []
    t = threading.Thread(target=lambda: sent.append(push.send_many(messages)))
    t.start()
    assert take(pull, 1000) == messages
    t.join(TIMEOUT)
    assert sent == [1000]


def test_a_signal_handler_that_raises_ends_the_wait(context, zmq):
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.bind(fresh_inproc())
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        for call in (lambda: pull.recv_many(3), lambda: push.send_many([b"x"])):
            with pytest.raises(Stop), Signals(signal.SIGUSR1, 0.05, most=1):
                call()
    finally:
        signal.signal(signal.SIGUSR1, before)


# --- what is no message --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ("text", TypeError),
        (5, TypeError),
        (None, TypeError),
        ([], IndexError),
        ([b"a", "b"], TypeError),
        ([b"a", 5], TypeError),
        ({b"a": 1}, TypeError),
    ],
)
def test_what_is_no_message_is_refused_before_any_is_sent(pair, zmq, bad, error):
    push, pull = pair()
    with pytest.raises(error):
        push.send_many([b"good", bad])
    with pytest.raises(TypeError):
        push.send_many(5)
    with pytest.raises(TypeError):
        push.send_many("text")
    with pytest.raises(TypeError):
        push.send_many(b"bytes")
    push.send(b"next")
    assert pull.recv() == b"next"


def test_arguments_are_checked(pair, zmq):
    push, pull = pair()
    for count in (0, -1):
        with pytest.raises(ValueError, match="at least one"):
            pull.recv_many(count)
    with pytest.raises(TypeError):
        pull.recv_many("3")
    with pytest.raises(TypeError):
        pull.recv_many(3, 0)
    with pytest.raises(TypeError):
        push.send_many([b"x"], 0)
    with pytest.raises(ValueError, match="SNDMORE"):
        push.send_many([b"x"], flags=zmq.SNDMORE)


def test_an_error_after_some_were_sent_is_that_of_the_next_call(pair):
    push, pull = pair()
    strided = memoryview(b"abcdef")[::2]
    rest = [b"1", b"2", strided, b"3"]
    assert push.send_many(rest) == 2
    with pytest.raises(BufferError):
        push.send_many(rest[2:])
    assert take(pull, 2) == [b"1", b"2"]


# --- kinds of sockets ----------------------------------------------------------------------------


def test_req_and_rep_take_one_at_a_time(pair, zmq):
    rep, req = pair("REP REQ")
    assert req.send_many([b"1", b"2"]) == 1
    with pytest.raises(zmq.ZMQError) as raised:
        req.send_many([b"2"])
    assert raised.value.errno == zmq.EFSM
    assert rep.recv_many(5) == [b"1"]
    with pytest.raises(zmq.ZMQError) as raised:
        rep.recv_many(5)
    assert raised.value.errno == zmq.EFSM
    assert rep.send_many([[b"a", b"b"], b"c"]) == 1
    assert req.recv_many(5) == [[b"a", b"b"]]


def test_a_router_answers_many_peers_in_one_batch(context, zmq, endpoint):
    router = context.socket(zmq.ROUTER)
    router.rcvtimeo = 30_000
    router.bind(endpoint)
    dealers = []
    for i in range(5):
        dealer = context.socket(zmq.DEALER)
        dealer.rcvtimeo = 30_000
        dealer.routing_id = b"dealer %d" % i
        dealer.connect(router.LAST_ENDPOINT.decode())
        dealer.send_many([b"x", b"y"])
        dealers.append(dealer)
    requests = take(router, 10, multipart=True)
    assert sorted(requests) == [[b"dealer %d" % i, b] for i in range(5) for b in (b"x", b"y")]
    assert router.send_many(requests) == 10
    for dealer in dealers:
        assert take(dealer, 2) == [b"x", b"y"]


def test_a_router_that_must_route_stops_at_a_stranger(pair, zmq):
    router, dealer = pair("ROUTER DEALER")
    router.router_mandatory = 1
    dealer.send(b"here I am")
    known = router.recv_multipart()[0]
    batch = [[known, b"1"], [b"stranger", b"2"], [known, b"3"]]
    assert router.send_many(batch) == 1
    with pytest.raises(zmq.ZMQError) as raised:
        router.send_many(batch[1:])
    assert raised.value.errno == zmq.EHOSTUNREACH
    assert dealer.recv_many(5) == [b"1"]


def test_subscribers_get_of_a_batch_what_they_asked_for(pair):
    pub, sub = pair("XPUB SUB")
    sub.subscribe(b"a")
    assert pub.recv() == b"\1a"
    batch = [b"a1", b"b2", [b"a3", b"more"], b"c4", b"a5"]
    assert pub.send_many(batch) == 5
    assert take(sub, 3) == [b"a1", [b"a3", b"more"], b"a5"]


def test_sockets_without_that_direction_refuse(pair, zmq):
    push, pull = pair()
    for call in (lambda: push.recv_many(1), lambda: pull.send_many([b"x"])):
        with pytest.raises(zmq.ZMQError) as raised:
            call()
        assert raised.value.errno == zmq.ENOTSUP


def test_a_closed_socket_refuses(pair, zmq):
    push, pull = pair()
    push.close()
    pull.close()
    for call in (lambda: pull.recv_many(1), lambda: push.send_many([b"x"])):
        with pytest.raises(zmq.ZMQError) as raised:
            call()
        assert raised.value.errno == zmq.ENOTSOCK


# --- asyncio -------------------------------------------------------------------------------------


@pytest.fixture
def run(zmq, endpoint):
    """run(test, kinds, **options): ``await test(first, second)`` with connected sockets."""
    zaio = importlib.import_module(zmq.__name__ + ".asyncio")

    def run_in_loop(test, kinds="PUSH PULL", **options):
        async def main():
            with zaio.Context() as context:
                first, second = (context.socket(getattr(zmq, kind)) for kind in kinds.split())
                for s in (first, second):
                    for name, value in options.items():
                        setattr(s, name, value)
                first.bind(endpoint)
                second.connect(first.LAST_ENDPOINT.decode())
                try:
                    await asyncio.wait_for(test(first, second), TIMEOUT)
                finally:
                    context.destroy(linger=0)

        asyncio.run(main())

    return run_in_loop


async def take_async(s, count, **kwargs):
    messages = []
    while len(messages) < count:
        messages += await s.recv_many(count - len(messages), **kwargs)
    return messages


def test_async_batches_come_and_go(run):
    async def test(push, pull):
        waiting = pull.recv_many(10)
        assert not waiting.done()
        assert await push.send_many([b"1", [b"2", b"3"]]) == 2
        got = await waiting
        got += await take_async(pull, 2 - len(got))
        assert got == [b"1", [b"2", b"3"]]
        assert await push.send_many([]) == 0
        for bad in ([5], 5, [[]]):
            with pytest.raises((TypeError, IndexError)):
                await push.send_many(bad)
        with pytest.raises(ValueError, match="at least one"):
            await pull.recv_many(0)

    run(test)


def test_async_sends_wait_for_room_and_keep_their_order(run):
    async def test(push, pull):
        first = push.send_many([b"%d" % i for i in range(500)])
        second = push.send(b"last")
        if push.LAST_ENDPOINT.startswith(b"inproc"):  # else the kernel may have room for all
            assert not first.done() and not second.done()
        assert await take_async(pull, 501) == [b"%d" % i for i in range(500)] + [b"last"]
        assert await first == 500
        await second

    run(test, sndhwm=5, rcvhwm=5)


@pytest.mark.parametrize("how", ["DONTWAIT", "SNDTIMEO 0", "SNDTIMEO"])
def test_an_async_batch_that_may_not_wait_tells_how_far_it_came(zmq, how):
    zaio = importlib.import_module(zmq.__name__ + ".asyncio")

    async def main():
        with zaio.Context() as context:
            push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
            push.sndhwm = pull.rcvhwm = 5
            push.bind(fresh_inproc())
            pull.connect(push.LAST_ENDPOINT.decode())
            flags = zmq.DONTWAIT if how == "DONTWAIT" else 0
            push.sndtimeo = 0 if how == "SNDTIMEO 0" else 20
            sent = await push.send_many([b"x"] * 30, flags=flags)
            assert 0 < sent < 30
            with pytest.raises(zmq.Again):
                await push.send_many([b"x"], flags=flags)
            assert await pull.recv_many(100) == [b"x"] * sent
            with pytest.raises(zmq.Again):
                await pull.recv_many(100, flags=zmq.DONTWAIT)
            context.destroy(linger=0)

    asyncio.run(asyncio.wait_for(main(), TIMEOUT))


@pytest.mark.parametrize("multipart", [False, True])
def test_a_batch_given_to_a_task_that_is_cancelled_is_received_next(run, multipart):
    messages = [b"1", [b"2", b"two"], b"3"]

    async def test(push, pull):
        before = pull.recv()
        task = asyncio.ensure_future(receive(pull))
        await asyncio.sleep(0)
        # One wake-up serves both; what the first calls back comes before the task's turn.
        before.add_done_callback(lambda _: task.cancel())
        await push.send_many([b"0", *messages])
        assert await before == b"0"
        with pytest.raises(asyncio.CancelledError):
            await task
        expected = [m if isinstance(m, list) else [m] for m in messages]
        assert await take_async(pull, 2, multipart=True) == expected[:2]
        assert await take_async(pull, 1) == [b"3"]

    async def receive(pull):
        return await pull.recv_many(3, multipart=multipart)

    run(test)


def test_an_async_batch_after_an_error_tells_how_far_it_came(run, zmq):
    async def test(rep, req):
        assert await req.send_many([b"1", b"2"]) == 1
        with pytest.raises(zmq.ZMQError) as raised:
            await req.send_many([b"2"])
        assert raised.value.errno == zmq.EFSM
        assert await rep.recv_many(5) == [b"1"]

    run(test, "REP REQ")
