"""Logging over PUB: `zmq_monocoque.log.handlers`; ``python -m zmq_monocoque.log URL`` watches it."""
