"""Deprecated, as `zmq_monocoque.eventloop.ioloop` is: nothing differs from it."""

# ruff: noqa: F401, F403
from zmq_monocoque.eventloop.ioloop import *
from zmq_monocoque.eventloop.ioloop import IOLoop, ZMQIOLoop, install
