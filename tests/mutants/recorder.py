"""Which test executes which line of some modules.

A value that is computed once and then kept, by ``functools`` or by a fixture, is of every test that
reads it: the lines of its computation are added whenever it is read.
"""

import functools
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from amaranth.sim import Simulator

Lines = set[tuple[str, int]]


class Recorder:
    """Lines of ``files``, which are absolute, by test; to be started before the product is
    imported."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = frozenset(files)
        self._imports: Lines = set()
        self._seen = self._imports
        self._tests: dict[str, Lines] = {}
        self._fixtures: dict[str, Lines] = {}
        self._users: dict[str, list[str]] = {}
        self._functools: dict[str, Any] = {}

    def start(self) -> None:
        """Record from now on."""
        self._keep_lines()
        self._simulate_fast()
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    def stop(self) -> None:
        """Record no longer."""
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        vars(functools).update(self._functools)
        Simulator.run = self._simulates  # type: ignore[method-assign]

    def test(self, name: str, fixtures: Collection[str]) -> None:
        """From now on, lines are of the test ``name``."""
        self._seen = self._tests.setdefault(name, set())
        for fixture in fixtures:
            self._users.setdefault(fixture, []).append(name)

    @contextmanager
    def shared(self, fixture: str) -> Iterator[None]:
        """While it lasts, lines are of all tests that use the fixture."""
        with self._into(self._fixtures.setdefault(fixture, set())):
            yield

    def document(self, folder: Path, seconds: dict[str, float]) -> dict[str, Any]:
        """JSON: ``seconds`` of every test, ``imports``, lines of each file by ``tests``."""
        for fixture, lines in self._fixtures.items():
            for name in self._users.get(fixture, ()):
                self._tests[name] |= lines
        names = {file: str(Path(file).relative_to(folder)) for file in self._files}
        imports: dict[str, list[int]] = {}
        for file, line in sorted(self._imports):
            imports.setdefault(names[file], []).append(line)
        tests: dict[str, dict[int, list[int]]] = {}
        for number, name in enumerate(seconds):
            for file, line in self._tests[name]:
                tests.setdefault(names[file], {}).setdefault(line, []).append(number)
        return {"seconds": seconds, "imports": imports, "tests": tests}

    def _enter(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        return self._line(frame, event, argument)

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        self._seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    @contextmanager
    def _into(self, lines: Lines) -> Iterator[None]:
        """Lines go to ``lines``, and to what they go now."""
        outer, self._seen = self._seen, set()
        try:
            yield
        finally:
            lines |= self._seen
            outer |= self._seen
            self._seen = outer

    def _simulate_fast(self) -> None:
        """Record nothing while Amaranth simulates: gateware executes before, when it is built."""
        recorder, run = self, Simulator.run

        @functools.wraps(run)
        def unrecorded(simulator: Simulator) -> None:
            sys.settrace(None)
            try:
                run(simulator)
            finally:
                sys.settrace(recorder._enter)

        self._simulates, Simulator.run = run, unrecorded  # type: ignore[method-assign]

    def _keep_lines(self) -> None:
        """Let the caches of ``functools`` keep lines with values."""
        recorder, lru_cache, cached_property = self, functools.lru_cache, functools.cached_property
        self._functools = {
            name: getattr(functools, name) for name in ("cache", "cached_property", "lru_cache")
        }

        def wrapped(function: Callable[..., Any], cached: Callable[..., Any]) -> Callable[..., Any]:
            lines: Lines = set()

            @functools.wraps(function)
            def inner(*arguments: Any, **keywords: Any) -> Any:
                with recorder._into(lines):
                    return function(*arguments, **keywords)

            kept = cached(inner)

            @functools.wraps(function)
            def outer(*arguments: Any, **keywords: Any) -> Any:
                value = kept(*arguments, **keywords)
                recorder._seen |= lines
                return value

            outer.cache_clear, outer.cache_info = kept.cache_clear, kept.cache_info  # type: ignore[attr-defined]
            return outer

        def lru(maxsize: Any = 128, typed: bool = False) -> Any:
            if callable(maxsize):
                return wrapped(maxsize, lru_cache(maxsize=128, typed=typed))
            return lambda function: wrapped(function, lru_cache(maxsize=maxsize, typed=typed))

        class Property(cached_property):  # type: ignore[type-arg]
            """Is asked although the instance has the value, because it can be set."""

            def __init__(self, function: Callable[[Any], Any]) -> None:
                self.lines: Lines = set()
                super().__init__(function)

            def __get__(self, instance: Any, owner: Any = None) -> Any:
                if instance is None:
                    return self
                if self.attrname not in instance.__dict__:
                    with recorder._into(self.lines):
                        return super().__get__(instance, owner)
                recorder._seen |= self.lines
                return instance.__dict__[self.attrname]

            def __set__(self, instance: Any, value: Any) -> None:
                instance.__dict__[self.attrname] = value

            def __delete__(self, instance: Any) -> None:
                del instance.__dict__[self.attrname]

        functools.lru_cache = lru  # type: ignore[assignment]
        functools.cache = lambda function: wrapped(function, lru_cache(maxsize=None))  # type: ignore[assignment]
        functools.cached_property = Property  # type: ignore[misc]
