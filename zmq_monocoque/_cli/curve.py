"""``curve keygen``: a pair of CURVE keys."""

from __future__ import annotations

import argparse

from zmq_monocoque import curve_keygen
from zmq_monocoque._cli.arguments import add_examples

HELP = "make a pair of CURVE keys"
DESCRIPTION = "CURVE keys. See docs/howto/security.md for which side needs which."
EXAMPLES = {
    "zmq-monocoque curve keygen --json > server.json": "a pair, as a JSON object",
    "zmq-monocoque curve keygen --secret KEY": "the public key of a secret one",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    keygen = actions.add_parser("keygen", help=HELP, description=curve_keygen.DESCRIPTION)
    curve_keygen.add_arguments(keygen)
    add_examples(keygen, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    """Prints the keys."""
    return curve_keygen.run(options)
