"""A memory behind an AXI4 slave port for Amaranth's simulator, which also checks the protocol.

Writes take effect as late as AXI allows: with the handshake of their response."""

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.bus import Response
from sigbit_sim.memory import PLAIN, MemoryTiming

_PAYLOADS = {
    "ar": ("addr", "len", "size", "burst", "cache", "prot", "qos", "id"),
    "aw": ("addr", "len", "size", "burst", "cache", "prot", "qos", "id"),
    "w": ("data", "strb", "last"),
}


@dataclass
class _Burst:
    address: int
    beats: int
    due: int


@dataclass
class AxiMemory:
    """Serves an object with the signals ``{prefix}araddr`` … in order, with random latency and
    stalls.

    Parameters
    ----------
    port : Any
        Component whose attributes are the master's signals.
    data : NDArray[np.uint8]
        The memory ``[beats, bytes per beat]``, possibly a view; it begins at bus address ``base``.
    rng : np.random.Generator
    latency : tuple[int, int]
        Minimum and maximum number of cycles from address to first data.
    response : tuple[int, int], optional
        The same from last data to response, if different.
    stall : float
        Probability that a channel pauses in a cycle.
    pace : MemoryTiming
        Timing of data: bandwidth and refresh. The latency is the one above.
    faults : dict[int, Response]
        Response code by address of the beat; anything outside the memory answers DECERR.
    hung : bool
        While set, nothing is accepted and nothing answered.
    turn : list[AxiMemory], optional
        All ports of an interconnect that moves data for one port at a time: the first in the list
        as long as it has open bursts, then the next one.
    """

    port: Any
    data: NDArray[np.uint8]
    rng: np.random.Generator
    base: int = 0
    prefix: str = "m_axi_"
    latency: tuple[int, int] = (1, 1)
    response: tuple[int, int] | None = None
    stall: float = 0.0
    pace: MemoryTiming = PLAIN
    faults: dict[int, Response] = field(default_factory=dict)
    hung: bool = False
    turn: "list[AxiMemory] | None" = None
    read_bursts: list[tuple[int, int]] = field(default_factory=list)
    write_bursts: list[tuple[int, int]] = field(default_factory=list)
    strobed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = [
            f"{channel}{name}"
            for channel, payload in _PAYLOADS.items()
            for name in (*payload, "valid")
        ]
        names += ["rready", "bready", "arready", "awready", "wready", "rvalid", "bvalid", "rlast"]
        self._signals = {name: getattr(self.port, self.prefix + name) for name in names}
        self._bytes = len(self._get("wstrb"))
        self._reads: deque[_Burst] = deque()
        self._writes: deque[_Burst] = deque()
        self._written: list[tuple[int, int, int]] = []
        self._responses: deque[tuple[int, int, list[tuple[int, int, int]]]] = deque()
        self._before: dict[str, tuple[int, ...]] = {}
        self._cycle = 0
        self._credit = [Fraction(0), Fraction(0)]  # beats that may be read and written
        self._read_beat = self._write_beat = 0
        self._write_resp = Response.OKAY

    def _get(self, name: str) -> Any:
        return getattr(self.port, self.prefix + name)

    @property
    def busy(self) -> bool:
        """True if bursts are open."""
        return bool(self._reads or self._writes or self._responses)

    def answer_nothing(self) -> None:
        """Give a write response that belongs to no write, as soon as those due have been given."""
        self._responses.append((self._cycle, Response.OKAY, []))

    async def run(self, ctx: Any) -> None:
        """Run as a background testbench."""
        names = list(self._signals)
        ticks = ctx.tick().sample(*self._signals.values())
        async for _, reset, *values in ticks:
            assert not reset
            self._cycle += 1
            seen = dict(zip(names, values, strict=True))
            self._check_stable(seen)
            self._accept(seen)
            self._drive(ctx, seen)

    def _check_stable(self, seen: dict[str, int]) -> None:
        for channel, payload in _PAYLOADS.items():
            now = tuple(seen[channel + name] for name in payload)
            if channel in self._before:
                assert seen[f"{channel}valid"], f"{channel}valid fell without {channel}ready"
                assert now == self._before[channel], f"{channel} changed while it waited"
                del self._before[channel]
            if seen[f"{channel}valid"] and not seen[f"{channel}ready"]:
                self._before[channel] = now

    def _burst(self, seen: dict[str, int], channel: str) -> _Burst:
        address, beats = seen[f"{channel}addr"], seen[f"{channel}len"] + 1
        assert 1 << seen[f"{channel}size"] == self._bytes, "bursts must be of full beats"
        assert seen[f"{channel}burst"] == 1, "bursts must be INCR"
        assert address % self._bytes == 0, f"burst at {address:#x} is misaligned"
        assert address // 4096 == (address + beats * self._bytes - 1) // 4096, (
            f"burst of {beats} beats at {address:#x} crosses 4 KiB"
        )
        return _Burst(address, beats, self._due(self.latency))

    def _due(self, latency: tuple[int, int]) -> int:
        return self._cycle + int(self.rng.integers(*latency, endpoint=True))

    def _accept(self, seen: dict[str, int]) -> None:
        if seen["arvalid"] and seen["arready"]:
            self._reads.append(self._burst(seen, "ar"))
            self.read_bursts.append((self._reads[-1].address, self._reads[-1].beats))
        if seen["rvalid"] and seen["rready"]:
            self._read_beat += 1
            if self._read_beat == self._reads[0].beats:
                self._reads.popleft()
                self._read_beat = 0
        if seen["awvalid"] and seen["awready"]:
            self._writes.append(self._burst(seen, "aw"))
            self.write_bursts.append((self._writes[-1].address, self._writes[-1].beats))
        if seen["bvalid"] and seen["bready"]:
            *_, written = self._responses.popleft()
            for row, column, value in written:
                self.data[row, column] = value
        if seen["wvalid"] and seen["wready"]:
            self._write(seen)

    def _write(self, seen: dict[str, int]) -> None:
        burst = self._writes[0]
        address = burst.address + self._write_beat * self._bytes
        self._write_resp = self._write_resp or self._fault(address)
        row = (address - self.base) // self._bytes
        for k in range(self._bytes):
            if seen["wstrb"] >> k & 1:
                self.strobed.append(address + k - self.base)
                if not self._fault(address):
                    self._written.append((row, k, seen["wdata"] >> (8 * k) & 0xFF))
        self._write_beat += 1
        assert seen["wlast"] == (self._write_beat == burst.beats), "wlast is not on the last beat"
        if seen["wlast"]:
            self._writes.popleft()
            due = self._due(self.response or self.latency)
            self._responses.append((due, self._write_resp, self._written))
            self._write_beat, self._write_resp, self._written = 0, Response.OKAY, []

    def _fault(self, address: int) -> Response:
        inside = 0 <= address - self.base < self.data.size
        return self.faults.get(address, Response.OKAY) if inside else Response.DECERR

    def _moves(self, direction: int) -> bool:
        """True if bandwidth and refresh allow a beat to move; the allowance is then used up."""
        pace, credit = self.pace, self._credit
        credit[direction] = min(credit[direction] + pace.bandwidth, Fraction(1))
        period = pace.refresh_period
        if period and self._cycle % period >= period - pace.refresh_cycles:
            return False
        if credit[direction] < 1:
            return False
        credit[direction] -= 1
        return True

    def _drive(self, ctx: Any, seen: dict[str, int]) -> None:
        """Drive the slave's outputs of the next cycle; VALID stays high until READY."""
        go = [not self.hung and self.rng.random() >= self.stall for _ in range(5)]
        if self.turn:
            mine = self.turn[0] is self
            if mine and not self.busy and seen["awready"]:
                mine = False
                self.turn.append(self.turn.pop(0))
            go[1] &= mine and not self.busy
            go[3] &= mine
        for direction, channel in enumerate((3, 2)):
            go[channel] &= self._moves(direction)
        ctx.set(self._get("arready"), go[0])
        ctx.set(self._get("awready"), go[1])
        # Data are taken only for bursts whose address is known, which keeps this model simple.
        ctx.set(self._get("wready"), go[2] and bool(self._writes))
        if not (seen["rvalid"] and not seen["rready"]):
            valid = go[3] and bool(self._reads) and self._reads[0].due <= self._cycle
            ctx.set(self._get("rvalid"), valid)
            if valid:
                burst = self._reads[0]
                address = burst.address + self._read_beat * self._bytes
                resp = self._fault(address)
                value = (
                    0
                    if resp
                    else int.from_bytes(
                        self.data[(address - self.base) // self._bytes].tobytes(), "little"
                    )
                )
                ctx.set(self._get("rdata"), value)
                ctx.set(self._get("rresp"), resp)
                ctx.set(self._get("rlast"), self._read_beat == burst.beats - 1)
        if not (seen["bvalid"] and not seen["bready"]):
            valid = go[4] and bool(self._responses) and self._responses[0][0] <= self._cycle
            ctx.set(self._get("bvalid"), valid)
            if valid:
                ctx.set(self._get("bresp"), self._responses[0][1])
