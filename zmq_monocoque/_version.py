"""The version of zmq_monocoque itself; ``zmq_monocoque.__version__`` is pyzmq's."""

__version__ = "0.1.0"
