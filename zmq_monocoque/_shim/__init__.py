"""A directory for PYTHONPATH: see `zmq_monocoque._cli.run`."""
