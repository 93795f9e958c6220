"""pyzmq's own test suite, unmodified, on this engine: ``python -m pyzmq_suite --help``.

The suite is fetched from the package index in the version that we stand for, and is never kept
here. Knows nothing of the engine: it runs what is installed, as anybody's program would.
"""
