"""The engine in another world: a network of hosts in one process, from one seed.

``python -m tests.simulation`` is the way in; docs/internals/simulation.md says what it is.
"""
