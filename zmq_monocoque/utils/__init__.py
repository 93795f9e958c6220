"""Helpers that stand beside the sockets: monitor messages, Z85, JSON."""
