"""Job functions of ``sigbit bench quant``, each on one processor thread."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sigbit.bench.nets.cases import Case
from sigbit.bench.quantization.cases import QuantCase
from sigbit.bench.quantization.post_training import PostCase, post_row
from sigbit.bench.quantization.rates import rate_row
from sigbit.bench.quantization.runs import run_case
from sigbit.bench.quantization.speed import speed_row
from sigbit.campaigns import Row, Tell
from sigbit.compiler import compile_graph
from sigbit.flows.campaigns.running import one_thread
from sigbit.quant import IntegerModel, PreparedModel, convert
from sigbit.runtime import compare
from sigbit.training import RunConfig
from sigbit_hw.arch.config import PRESETS
from sigbit_sim.cycles import predict
from sigbit_sim.interp.device import Interp


def trained(
    group: str,
    method: str,
    strategy: str,
    bits: int,
    config: Mapping[str, Any],
    data: str | None,
    work: str,
    tell: Tell,
) -> list[Row]:
    """Return the row of a run, in its folder in ``work``."""
    case = QuantCase(group, method, strategy, bits, RunConfig.from_table(config), 1.0)
    tell("training", 0, 1)
    with one_thread():
        return [run_case(case, _folder(data), Path(work))]


def rated(
    bits: int, variant: str, config: Mapping[str, Any], data: str | None, work: str, tell: Tell
) -> list[Row]:
    """Return the row of one rate, for the float twin of the run of ``config`` in ``work``."""
    case = QuantCase("rates", "transform", variant, bits, RunConfig.from_table(config), 1.0)
    with one_thread():
        return [rate_row(case, bits, variant, _folder(data), Path(work), tell)]


def rounded(
    case: Mapping[str, Any],
    strategy: str,
    images: int | None,
    data: str,
    work: str,
    tell: Tell,
) -> list[Row]:
    """Return the row of a network without training."""
    config = PRESETS[case["preset"]]

    def measure(integer: IntegerModel, sample: Tensor) -> dict[str, Any]:
        """Return the cycles of a sample, and the number of codes in which interpreter and integer
        model differ."""
        tell("compiling", 0, 1)
        program = compile_graph(integer.graph, config)
        wanted = {name: x.numpy() for name, x in integer.stored(sample).items()}
        inputs = {port.name: wanted[port.name] for port in program.inputs}
        tell("interpreting", 0, 1)
        found = Interp(config).run(program, inputs, layers=True)
        codes = {**found.layers, **found.outputs}
        return {
            "cycles": predict(program).cycles,
            "codes_compared": sum(x.size for x in codes.values()),
            "codes_different": sum(m.count for m in compare(wanted, codes)),
        }

    def cost(prepared: PreparedModel) -> float:
        """Return the cycles of a run."""
        return float(predict(compile_graph(convert(prepared).graph, config)).cycles)

    with one_thread():
        post = PostCase(Case(**case), strategy)
        return [post_row(post, Path(data), images, Path(work), measure, cost, tell)]


def speed(tell: Tell) -> Row:
    """Return the row of this machine's training steps. Not a job: it depends on the machine and the
    moment."""
    return speed_row(tell) | {"digest": "speed"}


def _folder(data: str | None) -> Path | None:
    return None if data is None else Path(data)
