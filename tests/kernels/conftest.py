"""Kernels that this machine does not have: shim.c takes features away from the one it has."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ENGINE = HERE.parents[1] / "zmq_monocoque" / "_engine"

#: What each lacks (see shim.c), and why io_uring is then not used, "" when it is.
KERNELS = {
    "without io_uring": ("setup", "has no io_uring"),
    "in a container": ("permission", "forbidden here"),
    "in a half-closed container": ("enter", "forbidden here"),
    "5.10": ("ext_arg,multishot,submit_all,coop,accept,msg_ring,messages", "Linux 5.11"),
    "5.12": ("multishot,submit_all,coop,accept,msg_ring,messages", "Linux 5.13"),
    "5.15": ("submit_all,coop,accept,msg_ring,messages", "Linux 5.19"),
    "5.15.90": ("submit_all,coop,msg_ring,messages", ""),
    "5.18": ("coop,accept,messages", "Linux 5.19"),
    "6.1": ("messages", ""),
}


@pytest.fixture(scope="session")
def environment_of(tmp_path_factory):
    """environment_of(kernel) -> the environment of a process that runs on that kernel."""
    package = importlib.util.find_spec("liburing")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the package liburing is not installed")
    real = next(Path(package.submodule_search_locations[0]).glob("liburing*.so"))
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "liburing").mkdir()
    (folder / "liburing" / "__init__.py").touch()
    shim = folder / "liburing" / f"liburing{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(
        [compiler, *flags, f"-I{ENGINE}", HERE / "shim.c", "-o", shim, "-ldl"],
        check=True,
        timeout=60,
    )
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    before = {k: v for k, v in os.environ.items() if k != "ZMQ_MONOCOQUE_DRIVER"}

    def environment(kernel: str) -> dict[str, str]:
        lacks, _ = KERNELS[kernel]
        return {
            **before,
            "PYTHONPATH": path,
            "ZM_SHIM_REAL": str(real),
            "ZM_SHIM_KERNEL": lacks,
        }

    return environment
