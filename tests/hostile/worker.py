"""A process that opens hostile files, one after the other, and says what became of each.

It has imported everything and opened a valid file of every kind before the first. Each file may
take :data:`SECONDS` of processor time and let the address space grow by :data:`GROWTH`; writes are
watched by an audit hook, which sees every file that Python opens, and by what stands in the
folders afterwards. Run as ``python -m hostile.worker FOLDER``: a request a line on standard input,
an answer a line on standard output, both JSON.
"""

import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from hostile.kinds import Kind, Unsound, kinds

SECONDS, GROWTH = 2.0, 1 << 30
"""What one file may take."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.mkdir": ((0, 2),), "os.rename": ((0, 2), (1, 3)), "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),), "os.symlink": ((1, 2),), "os.link": ((1, 3),),
    "os.truncate": ((0, None),), "os.chmod": ((0, 2),), "os.chown": ((0, 3),),
    "shutil.rmtree": ((0, 1),), "shutil.move": ((0, None), (1, None)),
    "shutil.copyfile": ((1, None),),
}  # fmt: skip
"""Events that change files: which arguments are their paths, and the folders that these are in."""
_RUNS = frozenset(
    ["subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty",
     "os.startfile", "pty.spawn", "socket.connect", "socket.bind", "urllib.Request",
     "ctypes.dlopen", "sys.addaudithook"]
)  # fmt: skip


class TooSlow(BaseException):
    """The time of a file is over; no reader may catch it."""


class Watch:
    """What the interpreter does to files and processes while a file is opened."""

    def __init__(self, allowed: list[Path]) -> None:
        self._allowed = [f"{path}{os.sep}" for path in allowed]
        self.armed = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = any(c in (mode or "") for c in "wax+") or (flags or 0) & _WRITES
            if writes and not isinstance(path, int):
                self._note(event, path)
        elif event in _CHANGES:
            for path, folder in _CHANGES[event]:
                self._note(event, arguments[path], -1 if folder is None else arguments[folder])
        elif event in _RUNS:
            self.seen.append(f"{event} {str(arguments)[:200]}")

    def _note(self, event: str, path: Any, folder: int | None = None) -> None:
        within = os.getcwd() if folder in (None, -1) else os.readlink(f"/proc/self/fd/{folder}")
        full = os.path.abspath(os.path.join(within, os.fsdecode(path)))
        if not any(f"{full}{os.sep}".startswith(place) for place in self._allowed):
            self.seen.append(f"{event} {full}")


class Worker:
    """Opens files below ``root``; what may be written to are the folders there but ``home``."""

    def __init__(self, root: Path) -> None:
        self.root, self.target, self.scratch = root, root / "target", root / "tmp"
        self.watch = Watch([self.target, self.scratch, root / "cache"])
        signal.signal(signal.SIGPROF, self._over)

    def warm_up(self) -> None:
        """Import everything: open a valid file of every kind."""
        for number, kind in enumerate(kinds().values()):
            folder = self.root / "warm" / str(number)
            folder.mkdir(parents=True)
            kind.write(folder, np.random.default_rng(0))
            kind.read(folder / kind.file)

    def open(self, kind: Kind, path: Path) -> dict[str, Any]:
        """What became of a file: ``accepted``, ``refused``, or what must not happen."""
        before, limits = _address_space(), resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (before + GROWTH, limits[1]))
        _reset_peak()
        memory, start = _status("VmRSS"), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        self.watch.seen, self.watch.armed = [], True
        try:
            kind.read(path)
            outcome, text = "accepted", ""
        except kind.errors as error:
            outcome, text = "refused", str(error)
        except TooSlow:
            outcome, text = "too slow", traceback.format_exc(limit=-6)
        except Unsound as error:
            outcome, text = "unsound", str(error)
        except BaseException:
            outcome, text = "undocumented", traceback.format_exc(limit=-8)
        finally:
            self.watch.armed = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            resource.setrlimit(resource.RLIMIT_AS, limits)
        seconds, grown = time.process_time() - start, _status("VmHWM") - memory
        if outcome == "refused" and _unreadable(text):
            outcome = "unreadable"
        if self.watch.seen or list(self.scratch.iterdir()):
            left = [str(p) for p in self.scratch.iterdir()]
            outcome, text = "wrote", "; ".join([*self.watch.seen, *left])
            _empty(self.scratch)
        return {"outcome": outcome, "text": text, "seconds": seconds, "grown": grown}

    @staticmethod
    def _over(*_: object) -> None:
        raise TooSlow


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _unreadable(text: str) -> bool:
    """Whether an error cannot be shown to people as it is."""
    return not text.strip() or any(not c.isprintable() and c != "\n" for c in text)


def _status(name: str) -> int:
    """Bytes of an entry of this process's status."""
    with open("/proc/self/status", encoding="ascii") as file:
        row = next(line for line in file if line.startswith(f"{name}:"))
    return int(row.split()[1]) << 10


def _address_space() -> int:
    return _status("VmSize")


def _reset_peak() -> None:
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def serve(root: Path, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more."""
    worker = Worker(root)
    worker.warm_up()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in requests:
        request = json.loads(line)
        answer = worker.open(kinds()[request["kind"]], Path(request["path"]))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # what libraries print is no answer
    os.dup2(null, 2)
    serve(Path(sys.argv[1]), sys.stdin, private)
