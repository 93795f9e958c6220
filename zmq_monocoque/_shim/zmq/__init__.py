"""What a child process of `zmq_monocoque run` gets for ``import zmq``: this one becomes ours."""

from zmq_monocoque import compat

compat.alias()
