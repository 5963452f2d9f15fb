"""Random networks as jobs: a job draws a number of them for one accelerator, from one seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st

from e2e.coverage import Coverage
from e2e.graphs import KINDS, graphs
from e2e.refusals import judge
from sigbit.campaigns import Job, Row, Tell
from sigbit.compiler import CompileError, compile_graph
from sigbit.errors import VerifyError
from sigbit.ir.integer import Conv, Gather, IntegerGraph, Matmul, MaxPool
from sigbit_hw.arch import numerics
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.rtl.device import RtlDevice

NANO = PRESETS["nano"]
CONFIGS = {
    "nano": replace(NANO, act_slots=1024),
    "small memories": replace(
        NANO,
        name="small",
        act_slots=512,
        weight_words=64,
        param_groups=16,
        tables=4,
        segments=4,
        queue_depth=2,
    ),
    "several drained pixels": replace(NANO, name="drain", pixels=8, post_lanes=16, act_slots=1024),
    "power of two, two ports": replace(
        NANO,
        name="pot",
        weight_format=EsbFormat(4, 0),
        act_format=EsbFormat(4, 1),
        oc_lanes=8,
        act_slots=4096,
        acc_bits=28,
        bus_bits=128,
        ports=2,
    ),
    "linear, few bits": replace(
        NANO,
        name="linear",
        weight_format=EsbFormat(2, 0),
        act_format=EsbFormat(2, 0, False),
        ic_lanes=4,
        oc_lanes=8,
        post_lanes=8,
        term_radix_bits=2,
        act_slots=1024,
    ),
}
CAMPAIGN = {
    **CONFIGS,
    "four ports": replace(NANO, name="four", oc_lanes=16, bus_bits=256, ports=4, burst_beats=4),
}
"""Accelerators of campaigns: one more, whose model is built for longer than it runs in a test."""
BATCH = 100
"""Networks of a job."""
CODE = ("sigbit", "sigbit_hw", "sigbit_sim", "sigbit_synthesis", "sigbit_tools", "e2e")
RELEASES = ("hypothesis", "numpy", "torch")
LATENCY = 19
"""Cycles of the memory whose cycles are predicted."""


@dataclass(frozen=True)
class Case:
    """One example of a campaign; ``runs`` runs of ``images`` images each."""

    graph: IntegerGraph
    images: int
    runs: int
    data: int
    steady: bool

    def __repr__(self) -> str:
        lines = [
            (
                f"{self.images} images, {self.runs} runs, data {self.data}, steady "
                f"{self.steady}, outputs {', '.join(self.graph.outputs)}"
            )
        ]
        for node in self.graph.nodes:
            lines.append(f"{type(node).__name__} {node.name}: {node.type}")
            for s in getattr(node, "sources", ()):
                lines.append(
                    f"    of {s.tensor}: weights {s.weights.shape} of {s.terms} terms, stride "
                    f"{s.stride}, padding {s.padding}, dilation {s.dilation}, upsampling "
                    f"{s.upsampling}, {s.groups} groups"
                )
            if isinstance(node, MaxPool):
                lines.append(
                    f"    of {node.tensor}: kernel {node.kernel}, stride {node.stride}, "
                    f"padding {node.padding}"
                )
            if isinstance(node, Gather):
                lines.append(f"    of {node.tensors}: {node.channels.tolist()}")
        return "\n".join(lines)


class Devices:
    """The RTL twice: one with a bus that pauses, and one with a steady bus, whose cycles can be
    predicted."""

    def __init__(self, config: ArchConfig, seed: int, verilog: str | None = None) -> None:
        self.paused = RtlDevice(
            config, memory=MemoryTiming(7), stalls=0.1, seed=seed, verilog=verilog
        )
        self.steady = RtlDevice(config, memory=MemoryTiming(LATENCY), verilog=verilog)


def check(case: Case, config: ArchConfig, devices: Devices | None, coverage: Coverage) -> None:
    """Compile the network and compare every layer of every image on both devices."""
    graph, count = case.graph, case.images * case.runs
    try:
        program = compile_graph(graph, config, images=case.images)
    except VerifyError:
        raise
    except CompileError as error:
        judge(error, graph, config, case.images)
        coverage.refused += 1
        return
    rng = np.random.default_rng(case.data)
    stored = {n.name: rng.integers(n.low, n.high + 1, (count, *n.type.shape)) for n in graph.inputs}
    golden = graph.evaluate({k: torch.from_numpy(v) for k, v in stored.items()})
    values = {name: value.numpy() for name, value in golden.items()}
    layers = {n.name for n in graph.nodes if isinstance(n, Conv | Matmul | MaxPool)}
    runners: list[Interp | RtlDevice] = [Interp(config, strict=True)]
    if devices:
        runners.append(devices.steady if case.steady else devices.paused)
    for runner in runners:
        result = runner.run(program, stored, layers=True)
        assert set(result.layers) == layers
        assert set(result.outputs) == set(graph.outputs)
        for name, got in [*result.layers.items(), *result.outputs.items()]:
            assert np.array_equal(got, values[name]), f"{runner.name}: {name}"
            coverage.codes += got.size
    if devices and case.steady:
        check_cycles(program, result.cycles)
        coverage.exact_cycles += 1
    for node in graph.nodes:
        if isinstance(node, Conv):
            sums = graph.accumulate(node, golden).numpy()
            params = (a[:, None, None] for a in (node.base, node.step, node.tie))
            values[f"{node.name} pre-activation"] = numerics.requantize(sums, *params)
    coverage.add(graph, program, values)


def check_cycles(program: Program, cycles: np.ndarray | None) -> None:
    """Every run of the RTL took as long as the model says."""
    assert cycles is not None
    predicted = predict(program, MemoryTiming(LATENCY)).cycles
    assert cycles.tolist() == [predicted] * len(cycles), "cycles"


def draw_networks(
    config: ArchConfig,
    coverage: Coverage,
    examples: int,
    seed: int,
    devices: Devices | None,
    phases: Sequence[Phase] = (Phase.generate, Phase.shrink),
    kinds: tuple[str, ...] = KINDS,
) -> None:
    """Draw ``examples`` networks of ``kinds`` of operations; a failing one is shrunk."""
    cases: st.SearchStrategy[Case] = st.builds(
        Case,
        graph=graphs(config, kinds=kinds),
        images=st.sampled_from((1, 1, 1, 2, 3)),
        runs=st.sampled_from((1, 1, 2)),
        data=st.integers(0, 1 << 32),
        steady=st.booleans(),
    )

    @hypothesis_seed(seed)
    @settings(
        max_examples=examples,
        deadline=None,  # jobs run where no profile of the tests is loaded
        database=None,
        print_blob=True,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(case=cases)
    def draw(case: Case) -> None:
        check(case, config, devices, coverage)

    draw()


def network_jobs(first: int) -> Iterator[Job]:
    """Jobs without end: :data:`BATCH` networks for each accelerator from seed ``first``, and from
    the seeds after it."""
    for seed in count(first):
        for which in CAMPAIGN:
            yield Job(
                f"random networks, {which}, seed {seed}",
                f"{__name__}:networks",
                {"which": which, "seed": seed, "examples": BATCH},
                columns={"accelerator": which, "seed": seed},
                code=CODE,
                releases=RELEASES,
            )


def networks(which: str, seed: int, examples: int, tell: Tell) -> list[Row]:
    """What a job has covered."""
    config, coverage = CAMPAIGN[which], Coverage()
    tell(f"random networks, {which}", 0, 1)
    draw_networks(config, coverage, examples, seed, Devices(config, seed))
    return [{"accelerator": which, "seed": seed, **coverage.to_json()}]
