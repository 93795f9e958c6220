"""The engine on kernels with less: which driver runs, and that the package behaves the same.

``matrix.py`` says what each kernel lacks and what is run there; ``ZM_KERNELS=full`` runs all
behaviour and fault tests on each of them.
"""

from __future__ import annotations

import pytest
from conftest import MODULE

from .matrix import CHOICE, FULL, KERNELS

pytestmark = pytest.mark.skipif(MODULE == "zmq", reason="libzmq knows no io_uring")


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_driver_is_the_one_that_works_there_and_the_reason_is_told(kernels, kernel, tmp_path):
    _, why = KERNELS[kernel]
    name, reason = kernels.driver(kernel, tmp_path)
    assert name == ("epoll" if why else "io_uring")
    assert why in reason if why else not reason


@pytest.mark.timeout(1800 if FULL else 600)
@pytest.mark.parametrize("kernel", KERNELS if FULL else CHOICE)
def test_the_package_behaves_the_same_there(kernels, kernel, tmp_path):
    done = kernels.run(kernel, tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
