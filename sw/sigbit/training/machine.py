"""Environment of a training: one or many processes (Hugging Face accelerate), device and precision.

Every process holds the whole model and takes its share of every batch. Gradients are averaged here
rather than by a wrapper of the model, because losses of strategies reach parameters outside the
model's forward pass. Any number of processes therefore computes the same step, up to the order of
sums.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sigbit.errors import TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator

PRECISIONS = ("no", "bf16")


@dataclass(frozen=True)
class Machine:
    """One process on the CPU; use :meth:`launched` for everything else.

    Parameters
    ----------
    accelerator : Accelerator, optional
        Handles of the device and of the other processes.
    threads : int
        CPU threads; sums depend on their number in the last bit.
    """

    accelerator: "Accelerator | None" = None
    threads: int = 1

    @classmethod
    def launched(
        cls, *, cpu: bool = False, precision: str = "no", threads: int | None = None
    ) -> "Machine":
        """Processes and device that ``accelerate launch`` or ``torchrun`` has set up, or else the
        only GPU or the CPU. ``precision`` "bf16" trains in mixed precision: forward passes then
        differ from the accelerator's exact ones, but tests do not."""
        from accelerate import Accelerator

        if precision not in PRECISIONS:
            raise TrainingError(
                f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}"
            )
        cpu = cpu or not torch.accelerator.is_available()  # otherwise processes would not join
        accelerator = Accelerator(cpu=cpu, mixed_precision=precision)
        return cls(accelerator, torch.get_num_threads() if threads is None else threads)

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return torch.device("cpu") if self.accelerator is None else self.accelerator.device

    @property
    def rank(self) -> int:
        """Number of this process."""
        return 0 if self.accelerator is None else int(self.accelerator.process_index)

    @property
    def processes(self) -> int:
        """Number of processes."""
        return 1 if self.accelerator is None else int(self.accelerator.num_processes)

    @property
    def is_main(self) -> bool:
        """True if this process writes files and reports to the user."""
        return self.rank == 0

    def facts(self) -> dict[str, object]:
        """Facts that must be equal for bit-identical results."""
        precision = "no" if self.accelerator is None else self.accelerator.mixed_precision
        return {
            "device": self.device.type,
            "processes": self.processes,
            "threads": self.threads,
            "precision": precision,
            "torch": torch.__version__,
            "instructions": instructions(),
        }

    def autocast(self) -> AbstractContextManager[None]:
        """Context of mixed precision, if requested."""
        return nullcontext() if self.accelerator is None else self.accelerator.autocast()

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of ``loss``."""
        if self.accelerator is None:
            loss.backward()
        else:
            self.accelerator.backward(loss)

    def sum(self, value: Tensor) -> Tensor:
        """Return ``value`` summed over all processes."""
        if self.accelerator is None or self.processes == 1:
            return value
        total: Tensor = self.accelerator.reduce(value, "sum")
        return total

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by the mean over all processes."""
        if self.processes > 1:
            for tensors in _by_dtype(p.grad for p in parameters if p.grad is not None):
                mean = self.sum(torch.cat([t.reshape(-1) for t in tensors])) / self.processes
                _scatter(mean, tensors)

    def agree(self, buffers: Iterable[Tensor]) -> None:
        """Replace floating-point buffers (running statistics) by the mean over all processes."""
        if self.processes > 1:
            for tensors in _by_dtype(b for b in buffers if b.is_floating_point()):
                mean = self.sum(torch.cat([t.reshape(-1) for t in tensors])) / self.processes
                _scatter(mean, tensors)

    def any(self, flag: bool) -> bool:
        """Return True if ``flag`` is set in any process."""
        if self.processes == 1:
            return flag
        return bool(self.sum(torch.tensor(int(flag), device=self.device)) > 0)

    @contextmanager
    def reproducible(self) -> Iterator[None]:
        """Context :func:`reproducible` with this machine's number of threads."""
        with reproducible(self.threads):
            yield


def instructions() -> str:
    """Instruction set of the processor according to torch, and the limit set for oneDNN's
    convolutions: their sums depend on it in the last bit."""
    used = torch.backends.cpu.get_cpu_capability()
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    return f"{used}, convolutions {limit}" if limit not in ("", "DEFAULT", used) else used


def _by_dtype(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    return list(groups.values())


@torch.no_grad()
def _scatter(flat: Tensor, tensors: list[Tensor]) -> None:
    for part, tensor in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True):
        tensor.copy_(part.view_as(tensor))


@contextmanager
def reproducible(threads: int = 1) -> Iterator[None]:
    """Context with ``threads`` CPU threads (sums depend on their number) and deterministic
    kernels."""
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic)
