"""libzmq's own test programs, unmodified, on this engine's C face:
``python -m libzmq_suite --help``.

Their source is fetched from Debian and never kept here. They are compiled against libzmq's header
and linked with libzmq, built from the same source; which library one runs on is said by
``LD_LIBRARY_PATH``, so that the very same program is held against both.
"""
