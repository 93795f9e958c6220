"""Programs for releases; none of them is installed."""
