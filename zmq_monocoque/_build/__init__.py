"""How the engine is built. Used by ``setup.py`` and the tests, not installed."""
