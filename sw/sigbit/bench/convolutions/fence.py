"""An environment in which an access beyond a block of memory ends the process."""

import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sigbit.bench.convolutions.shapes import Limit
from sigbit_tools.cache import cached_folder, key_of
from sigbit_tools.toolchain import ToolchainError

_SOURCE = Path(__file__).with_name("fence.cpp")
_LIBRARY = "libfence.so"


def environment(limit: Limit) -> Mapping[str, str]:
    """The present environment, with oneDNN limited to ``limit``, its log of created and executed
    primitives on standard output, tensors and workspaces from ``fence.cpp``, and the C library's
    own checks of other memory, where available."""
    changes = {
        "LD_PRELOAD": str(_library()),
        "MALLOC_CHECK_": "3",
        "DNNL_MAX_CPU_ISA": limit.value,
        "DNNL_VERBOSE": "2",
    }
    return {**os.environ, **changes}


@cache
def _library() -> Path:
    """The compiled allocator, built unless it is cached."""
    folder = cached_folder(f"fence-{key_of(_SOURCE.read_text())}", _build)
    return folder / _LIBRARY


def _build(into: Path) -> None:
    compiler = (os.environ.get("CXX") or "g++").split()
    options = ["-std=c++20", "-O2", "-Wall", "-Werror", "-fPIC", "-shared"]
    command = [*compiler, *options, str(_SOURCE), "-o", str(into / _LIBRARY), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-20:])
        raise ToolchainError(f"building the checked allocator failed:\n{tail}")
