"""The C driver, built for a board at the other end of a socket, and that board."""

import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from boards.fake_registers import ADDRESS, Accelerator, lines
from sigbit_hw.driver.sources import driver_sources

HERE = Path(__file__).parent
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wpedantic", "-Wshadow", "-Wconversion")
SANITIZED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_OURS = ("socket_board.c", "turns.c")


@dataclass(frozen=True)
class Tools:
    """Two programs, and what runs them: `sigbit-run` and `turns`."""

    folder: Path
    emulator: tuple[str, ...] = ()

    def run(self, name: str, *arguments: object, **environment: str) -> tuple[int, str, str]:
        """Exit code and what was printed."""
        done = subprocess.run(
            [*self.emulator, str(self.folder / name), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        return done.returncode, done.stdout, done.stderr


def need(*tools: str) -> None:
    """Skip a test without its tools; in continuous integration it fails."""
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if absent and os.environ.get("CI") == "true":
        pytest.fail(f"{', '.join(absent)}: not there; debian-packages.txt lists it")
    if absent:
        pytest.skip(f"{', '.join(absent)}: not there")


def build(
    folder: Path,
    compiler: str,
    options: Sequence[str],
    emulator: Sequence[str] = (),
    sources: Mapping[str, str] | None = None,
) -> Tools:
    """Compile the driver with a board at a socket in place of Linux's."""
    need(compiler, *emulator[:1])
    texts = dict(sources or driver_sources()) | {name: (HERE / name).read_text() for name in _OURS}
    for name, text in texts.items():
        (folder / name).write_text(text)
    common = [n for n in texts if n.endswith(".c") and n not in ("main.c", "turns.c", "linux.c")]
    for name, main in (("sigbit-run", "main.c"), ("turns", "turns.c")):
        command = [compiler, *STRICT, *options, "-I.", main, *common, "-o", name, "-lm"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return Tools(folder, tuple(emulator))


class SocketBoard:
    """Answers one driver after the other; ``synchronised`` are ranges: "d" or "p", offset, size."""

    def __init__(self, path: Path, accelerator: Accelerator) -> None:
        self.path, self.accelerator = path, accelerator
        self.synchronised: list[tuple[str, int, int]] = []
        self.failure: BaseException | None = None

    @contextmanager
    def listening(self) -> Iterator["SocketBoard"]:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(self.path))
            server.listen()
            server.settimeout(0.02)
            stop = threading.Event()
            thread = threading.Thread(target=self._serve, args=(server, stop))
            thread.start()
            try:
                yield self
            finally:
                stop.set()
                thread.join()
        if self.failure is not None:
            raise self.failure

    def _serve(self, server: socket.socket, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            connection.settimeout(None)
            with connection, connection.makefile("rb") as asked:
                try:
                    while message := asked.read(24):
                        what, a, b = struct.unpack("<3Q", message)
                        self._answer(chr(what), a, b, connection, asked)
                except ConnectionError:
                    pass
                except BaseException as error:  # told when the test ends
                    self.failure = error

    def _answer(self, what: str, a: int, b: int, connection: socket.socket, asked) -> None:
        accelerator, memory = self.accelerator, self.accelerator.memory
        answer, data = 0, b""
        if what == "a":
            answer = ADDRESS
        elif what == "s":
            answer = memory.size
        elif what == "r":
            answer = accelerator.read(a)
        elif what == "w":
            accelerator.write(a, b)
        elif what == "i":
            accelerator.advance()
        elif what == "p":
            data = memory[lines(a, b)].tobytes()
        if what in "dp":
            assert 0 <= a < a + b <= memory.size
            self.synchronised.append((what, a, b))
        connection.sendall(struct.pack("<Q", answer) + data)
        if what == "d":
            part = lines(a, b)
            memory[part] = memoryview(asked.read(part.stop - part.start))
