"""``python -m zmq_monocoque.curve_keygen``: makes a pair of CURVE keys."""

from __future__ import annotations

import argparse
import json
import sys

import zmq_monocoque as zmq
from zmq_monocoque._cli.arguments import Parser

DESCRIPTION = (
    "Prints a new pair of CURVE keys, public and secret, as 40 characters of Z85 each."
    " With --secret: that key and its public one."
)


def with_key_attached(arguments: list[str]) -> list[str]:
    """The ``arguments`` with ``--secret KEY`` as ``--secret=KEY``: a key may begin with a dash, a
    value may not.
    """
    if "--secret" not in arguments[:-1]:
        return arguments
    at = arguments.index("--secret")
    return [*arguments[:at], f"--secret={arguments[at + 1]}", *arguments[at + 2 :]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tells ``parser`` which keys there are, and how they are printed."""
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.add_argument("--secret", help="a secret key, to print the public one of")


def run(options: argparse.Namespace) -> int:
    """Prints the keys that ``options`` ask for; 1 where the secret one is none."""
    if options.secret is None:
        public, secret = (key.decode() for key in zmq.curve_keypair())
    else:
        secret = options.secret
        try:
            public = zmq.curve_public(secret.encode()).decode()
        except (ValueError, zmq.ZMQError) as error:
            # Not a usage error: that repeats the arguments, and one of them is secret.
            print(f"no secret key: {error}", file=sys.stderr)
            return 1
    if options.json:
        print(json.dumps({"public": public, "secret": secret}, indent=1))
        return 0
    print(f"== CURVE PUBLIC KEY ==\n{public}\n")
    print(f"== CURVE SECRET KEY ==\n{secret}")
    return 0


def _main() -> None:
    parser = Parser(prog="python3 -m zmq.curve_keygen", description=DESCRIPTION)
    add_arguments(parser)
    sys.exit(run(parser.parse_args(with_key_attached(sys.argv[1:]))))


if __name__ == "__main__":
    _main()
