from __future__ import annotations

import pytest

from .matrix import Kernels, Missing


@pytest.fixture(scope="session")
def kernels(tmp_path_factory) -> Kernels:
    """Environments of kernels that this machine does not have."""
    try:
        return Kernels(tmp_path_factory.mktemp("kernels"))
    except Missing as missing:
        pytest.skip(str(missing))
