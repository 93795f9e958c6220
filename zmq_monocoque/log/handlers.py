"""Log records as PUB messages of two parts: a topic and the text.

The topic is ``root.LEVEL.sub``: the handler's root topic, the level's name, and what stands before
"::" in the message, if anything. Subscribers choose by its beginning.
"""

from __future__ import annotations

import logging
from copy import copy
from typing import Any

import zmq_monocoque as zmq

__all__ = ["PUBHandler", "TopicLogger", "TOPIC_DELIM"]

#: Between the sub-topic and the text of a message.
TOPIC_DELIM = "::"

_PLACED = "%(levelname)s %(filename)s:%(lineno)d - %(message)s"
_DEFAULT_FORMATS = {
    logging.DEBUG: f"{_PLACED}\n",
    logging.INFO: "%(message)s\n",
    logging.WARNING: f"{_PLACED}\n",
    logging.ERROR: f"{_PLACED} - %(exc_info)s\n",
    logging.CRITICAL: f"{_PLACED}\n",
}


class PUBHandler(logging.Handler):
    """PUBHandler(interface_or_socket, context=None, root_topic="").

    The first is a PUB socket, or an endpoint that a new one binds to: in ``context``, or in a new
    Context. It is in ``socket`` and stays the caller's to close. Raises what `Socket.bind` does.
    """

    #: The formatter of each level. A level without one is formatted as logging does.
    formatters: dict[int, logging.Formatter | None]
    ctx: zmq.Context[Any]
    socket: zmq.Socket[Any]

    def __init__(
        self,
        interface_or_socket: str | zmq.Socket[Any],
        context: zmq.Context[Any] | None = None,
        root_topic: str = "",
    ) -> None:
        super().__init__()
        self.root_topic = root_topic
        self.formatters = {
            level: logging.Formatter(text) for level, text in _DEFAULT_FORMATS.items()
        }
        if isinstance(interface_or_socket, zmq.Socket):
            self.socket = interface_or_socket
            self.ctx = self.socket.context
        else:
            self.ctx = zmq.Context() if context is None else context
            try:
                self.socket = self.ctx.socket(zmq.PUB)
                try:
                    self.socket.bind(interface_or_socket)
                except BaseException:
                    self.socket.close()
                    raise
            except BaseException:
                if context is None:
                    self.ctx.term()
                raise

    @property
    def root_topic(self) -> str:
        """What every topic starts with; bytes are taken for UTF-8."""
        return self._root_topic

    @root_topic.setter
    def root_topic(self, value: str) -> None:
        self.setRootTopic(value)

    def setRootTopic(self, root_topic: str) -> None:
        """Sets `root_topic`."""
        self._root_topic = root_topic.decode() if isinstance(root_topic, bytes) else root_topic

    def setFormatter(self, fmt: logging.Formatter | None, level: int = logging.NOTSET) -> None:
        """Sets the formatter ``fmt`` of one ``level``, or of all (NOTSET)."""
        if level == logging.NOTSET:
            super().setFormatter(fmt)
            self.formatters = dict.fromkeys(self.formatters, fmt)
        else:
            self.formatters[level] = fmt

    def format(self, record: logging.LogRecord) -> str:
        """The text of a ``record``, by the formatter of its level."""
        formatter = self.formatters.get(record.levelno)
        return super().format(record) if formatter is None else formatter.format(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Sends a ``record``. What goes wrong is reported as logging does (``handleError``)."""
        try:
            topics = [self.root_topic, record.levelname]
            text = str(record.msg)
            if TOPIC_DELIM in text:
                sub_topic, _, text = text.partition(TOPIC_DELIM)
                topics.append(sub_topic)
                # The record is other handlers', too.
                record = copy(record)
                record.msg = text
            topic = ".".join(part for part in topics if part)
            body = self.format(record)
            self.socket.send_multipart([topic.encode(), body.encode()])
        except Exception:
            self.handleError(record)


class TopicLogger(logging.Logger):
    """TopicLogger(name, level=NOTSET): a Logger whose methods take a sub-topic first.

    ``logger.info("db.pool", "full: %d", n)``

    The topic goes before the message, with "::"; a `PUBHandler` makes it part of its own.
    """

    def log(  # type: ignore[override]
        self, level: int, topic: str, msg: object, *args: Any, **kwargs: Any
    ) -> None:
        """Logs ``msg % args`` at ``level`` under the ``topic``. Keywords as logging's."""
        # The caller's line is what is wanted, and it is one further up.
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        super().log(level, f"{topic}{TOPIC_DELIM}{msg}", *args, **kwargs)

    def _log_above(
        self, level: int, topic: str, msg: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 2
        self.log(level, topic, msg, *args, **kwargs)

    def debug(  # type: ignore[override]
        self, topic: str, msg: object, *args: Any, **kwargs: Any
    ) -> None:
        """As `log`, at DEBUG."""
        self._log_above(logging.DEBUG, topic, msg, args, kwargs)

    def info(  # type: ignore[override]
        self, topic: str, msg: object, *args: Any, **kwargs: Any
    ) -> None:
        """As `log`, at INFO."""
        self._log_above(logging.INFO, topic, msg, args, kwargs)

    def warning(  # type: ignore[override]
        self, topic: str, msg: object, *args: Any, **kwargs: Any
    ) -> None:
        """As `log`, at WARNING."""
        self._log_above(logging.WARNING, topic, msg, args, kwargs)

    def error(  # type: ignore[override]
        self, topic: str, msg: object, *args: Any, **kwargs: Any
    ) -> None:
        """As `log`, at ERROR."""
        self._log_above(logging.ERROR, topic, msg, args, kwargs)

    def exception(  # type: ignore[override]
        self, topic: str, msg: object, *args: Any, **kwargs: Any
    ) -> None:
        """As `log`, at ERROR, with the exception that is being handled."""
        kwargs.setdefault("exc_info", True)
        self._log_above(logging.ERROR, topic, msg, args, kwargs)

    def critical(  # type: ignore[override]
        self, topic: str, msg: object, *args: Any, **kwargs: Any
    ) -> None:
        """As `log`, at CRITICAL."""
        self._log_above(logging.CRITICAL, topic, msg, args, kwargs)

    warn = warning  # type: ignore[assignment]
    fatal = critical  # type: ignore[assignment]
