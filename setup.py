"""The two extensions and the C face; everything else is in pyproject.toml.

Setuptools compiles one file after the other, and all of them when one changed. Here objects are
compiled in parallel, and only those whose source, headers or flags changed, so that
``python setup.py build_ext --inplace`` is quick enough to run after every edit.
"""

import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import setuptools

# What is missing is said before anything fails for it, so older Pythons have to get as far as this.
if not sys.platform.startswith("linux"):
    raise SystemExit("zmq_monocoque runs on Linux only: its drivers are io_uring and epoll.")
if sys.version_info < (3, 10):  # noqa: UP036  (pip looks first; others do not)
    this = ".".join(map(str, sys.version_info[:3]))
    raise SystemExit(f"zmq_monocoque needs Python 3.10 or later; this is {this}.")
if sys.maxsize < 1 << 32:
    raise SystemExit("zmq_monocoque is for 64-bit machines: use pyzmq with a 32-bit Python.")
if int(setuptools.__version__.partition(".")[0]) < 77:
    raise SystemExit(
        "zmq_monocoque is built by setuptools 77 or later: pip install -U setuptools"
        f" (this is {setuptools.__version__})."
    )

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def load_build(name):
    """A module of the folder _build, without importing the package that is to be built."""
    spec = importlib.util.spec_from_file_location(
        f"_build_{name}", ROOT / "zmq_monocoque" / "_build" / f"{name}.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ENGINE_BUILD = load_build("engine")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def need_compiler():
    """Ends the build with a sentence where a C compiler or Python's headers are missing."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "gcc")[0]
    if shutil.which(compiler) is None:
        raise SystemExit(
            f"{compiler} is missing: zmq_monocoque is compiled when it is installed from source."
            " Install a C compiler (Debian: apt-get install gcc libc6-dev), or a wheel, which"
            " needs none."
        )
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        raise SystemExit(
            f"{header} is missing: zmq_monocoque is compiled against Python's headers."
            " Install them (Debian: apt-get install python3-dev), or a wheel, which needs none."
        )


class Build(build):
    """Keeps one build directory per sanitizer, so that their objects never mix."""

    def initialize_options(self):
        super().initialize_options()
        self.build_base = os.path.join("build", ENGINE_BUILD.VARIANT)


class BuildExt(build_ext):
    """Compiles in parallel, and only what changed."""

    def build_extensions(self):
        newest_header = max(p.stat().st_mtime for p in (ROOT / "zmq_monocoque").rglob("*.h"))
        newest_input = max(newest_header, Path(ENGINE_BUILD.__file__).stat().st_mtime)
        compile_one = self.compiler.compile

        def compile_changed(sources, output_dir=None, **options):
            objects = self.compiler.object_filenames(sources, output_dir=output_dir or "")

            def is_stale(source, target):
                if not os.path.exists(target):
                    return True
                return os.path.getmtime(target) <= max(newest_input, os.path.getmtime(source))

            stale = [s for s, o in zip(sources, objects, strict=True) if is_stale(s, o)]
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                list(pool.map(lambda s: compile_one([s], output_dir=output_dir, **options), stale))
            return objects

        self.compiler.compile = compile_changed
        self.force = True  # linking is cheap, and the other variant's file may be in place
        super().build_extensions()
        self.build_c_face()

    def build_c_face(self):
        """libzmq_monocoque.so: the C face's own files, and the objects of the engine."""
        face = ENGINE_BUILD.capi()
        objects = self.compiler.compile(
            face["sources"],
            output_dir=self.build_temp,
            include_dirs=face["include_dirs"],
            extra_postargs=face["extra_compile_args"],
            depends=[],
        )
        objects += self.compiler.object_filenames(face["engine"], output_dir=self.build_temp)
        directory = Path(self.build_lib) / ENGINE_BUILD.CAPI_LIBRARIES
        directory.mkdir(parents=True, exist_ok=True)
        self.compiler.force = True
        # The one with libzmq's name has nothing of its own; zig links nothing without an object.
        nothing = Path(self.build_temp) / "nothing.c"
        nothing.touch()
        empty = self.compiler.compile([str(nothing)], output_dir=self.build_temp)
        for name, arguments in face["libraries"].items():
            is_engine = name == ENGINE_BUILD.CAPI_NAME
            self.compiler.link_shared_object(
                objects if is_engine else empty,
                str(directory / name),
                extra_postargs=[
                    *arguments,
                    *([] if is_engine else [str(directory / ENGINE_BUILD.CAPI_NAME)]),
                ],
            )
        script = directory / ENGINE_BUILD.CAPI_LINKER_NAME
        script.write_text(ENGINE_BUILD.CAPI_LINKER_SCRIPT, encoding="utf-8")

    def c_face_files(self):
        names = (*ENGINE_BUILD.capi()["libraries"], ENGINE_BUILD.CAPI_LINKER_NAME)
        directory = Path(self.build_lib) / ENGINE_BUILD.CAPI_LIBRARIES
        return [directory / name for name in names]

    def get_outputs(self):
        outputs = super().get_outputs()
        return outputs if self.inplace else [*outputs, *map(str, self.c_face_files())]

    def copy_extensions_to_source(self):
        super().copy_extensions_to_source()
        for path in self.c_face_files():
            target = ROOT / ENGINE_BUILD.CAPI_LIBRARIES
            target.mkdir(exist_ok=True)
            # By another name first: a program may have it mapped.
            part = target / f"{path.name}.part"
            shutil.copy2(path, part)
            part.replace(target / path.name)

    def run(self):
        need_compiler()
        super().run()
        # `pip install . && python -m zmq_monocoque` in a clone imports the clone, not the
        # installation: Python looks into the current directory first. So it needs them as well.
        if not self.inplace and ENGINE_BUILD.VARIANT == "plain":
            self.copy_extensions_to_source()


setup(
    cffi_modules=["zmq_monocoque/_build/engine.py:ffibuilder"],
    ext_modules=[Extension(**ENGINE_BUILD.extension())],
    cmdclass={"build": Build, "build_ext": BuildExt},
    long_description=load_build("readme").for_an_index(README),
    long_description_content_type="text/markdown",
)
