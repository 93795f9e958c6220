"""Becomes zmq_monocoque when it is imported: `zmq` and all below are the modules of that one."""

from zmq_monocoque import compat

compat.alias()
