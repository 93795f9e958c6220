"""Helpers that stand beside the sockets: monitor messages, Z85, JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # see __init__.pyi of the package
    from zmq_monocoque.utils import garbage as garbage
    from zmq_monocoque.utils import interop as interop
    from zmq_monocoque.utils import jsonapi as jsonapi
    from zmq_monocoque.utils import monitor as monitor
    from zmq_monocoque.utils import strtypes as strtypes
    from zmq_monocoque.utils import win32 as win32
    from zmq_monocoque.utils import z85 as z85
