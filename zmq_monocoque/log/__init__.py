"""Logging over PUB: `handlers`; ``python -m zmq_monocoque.log URL`` watches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # see __init__.pyi of the package
    from zmq_monocoque.log import handlers as handlers
