"""Logging over PUB: `handlers`; ``python -m zmq_monocoque.log URL`` watches it."""
