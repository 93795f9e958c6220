"""Strangers that take all descriptors: who is in stays in, and others come in afterwards."""

from __future__ import annotations

import errno

from hostile.helpers import NO_DETAIL, reset
from support import RawPeer, eventually
from support.zmtp import message


def test_when_strangers_take_all_descriptors_others_go_on(target, honest):
    """They are silent; the listener has no descriptor for the next, and says so or drops one."""
    target.open(handshake_ivl=60_000)
    honest.open(target.endpoint)
    with honest.at_work():
        target.remote.call("limit_descriptors", 20)
        try:
            with target.attackers(100) as peers:
                eventually(
                    lambda: (
                        target.count("ACCEPT_FAILED", errno.EMFILE)
                        or target.count(NO_DETAIL, errno.ENOBUFS)
                    )
                )
                for peer in peers:
                    reset(peer)
            target.left_with(1)
            with target.attack() as late:
                late.handshake("DEALER", b"")
                late.round_trip()
        finally:
            target.remote.call("limit_descriptors", None)
    target.left_with(1)


def come_in(target, peer) -> RawPeer:
    """Shakes hands; a peer that was dropped for want of a descriptor comes again, as clients do."""
    try:
        peer.handshake("DEALER", b"")
        return peer
    except (EOFError, ConnectionError):
        peer.close()
        peer = target.attack()
        peer.handshake("DEALER", b"")
        return peer


def test_who_is_in_keeps_its_descriptor_and_the_rest_comes_in_later(target, honest):
    target.open()
    honest.open(target.endpoint)
    with honest.at_work():
        target.remote.call("limit_descriptors", 40)
        try:
            with target.attackers(0) as peers:
                for _ in range(8):
                    peers.append(target.attack())
                    peers[-1].handshake("DEALER", b"")
                # Until it has read their READY, too, they are strangers, of which it may drop one.
                target.told("HANDSHAKE_SUCCEEDED", times=1 + 8)
                peers += [target.attack() for _ in range(60)]
                eventually(
                    lambda: (
                        target.count("ACCEPT_FAILED", errno.EMFILE)
                        or target.count(NO_DETAIL, errno.ENOBUFS)
                    )
                )
                target.remote.call("limit_descriptors", None)
                peers[8:] = [come_in(target, peer) for peer in peers[8:]]
                for number, peer in enumerate(peers):
                    peer.send(message(b"%d" % number))
                eventually(lambda: target.state()["strange"] == 68)
        finally:
            target.remote.call("limit_descriptors", None)
    target.left_with(1)
