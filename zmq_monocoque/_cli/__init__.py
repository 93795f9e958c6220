"""The commands of ``python -m zmq_monocoque``; see ``zmq_monocoque/__main__.py``."""
