"""``reconstruct``: equalization, error-compensated rounding and learned blocks, each applied on top
of the results kept so far, and kept only if the network's decisions then agree more with those of
its float original on held-out samples."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from sigbit.errors import QuantizationError
from sigbit.frontend import import_model
from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.reference import Reference
from sigbit.quant.calibration.samples import (
    Calibration,
    Part,
    SampleChunks,
    as_chunks,
    micro_batches,
)
from sigbit.quant.calibration.statistics import Statistics, observe
from sigbit.quant.post.correction import BiasCorrection
from sigbit.quant.post.corrections import settle
from sigbit.quant.post.folding import fold_batch_norms
from sigbit.quant.post.reconstruction.blocks import Block, joined
from sigbit.quant.post.reconstruction.judge import Judge, Score
from sigbit.quant.post.reconstruction.learning import BlockLearning
from sigbit.quant.post.reconstruction.ranges import equalize_activations
from sigbit.quant.post.reconstruction.resume import Progress, digest_of
from sigbit.quant.post.reconstruction.rounding import ErrorCompensation
from sigbit.quant.post.reconstruction.walk import Step, Walk, go
from sigbit.quant.post.uses import Uses
from sigbit.quant.prepare import check_parameters, prepare_calibrated
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.spec import QuantSpec

PLAIN, EQUALIZED, COMPENSATED, LEARNED = "rounded", "equalized", "compensated", "learned"
Tell = Callable[[str, int, int], None]
"""Called with the current activity, the amount of work done, and the total amount."""


@dataclass(frozen=True)
class Reconstruction:
    """Attempts of the reconstruction, in this order.

    Parameters
    ----------
    equalize : bool
        Equalize the ranges of the channels of activations.
    compensate : bool
        Round weights one after another, and let the others compensate the error.
    learn : bool
        Learn rounding, biases and scales of activations, block by block.
    steps : int
        Number of learning steps per block.
    drop : float
        Fraction of activations that remain real while a block learns, from 0 to 1.
    held_out : float
        Fraction of the samples on which attempts are compared; they are not used otherwise.
    judge : bool
        Keep only attempts that raise agreement; otherwise keep all.
    """

    equalize: bool = True
    compensate: bool = True
    learn: bool = True
    steps: int = 100
    drop: float = 0.5
    held_out: float = 0.25
    judge: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise QuantizationError(f"steps of a block must be at least 1, not {self.steps}")
        if not 0 <= self.drop <= 1:
            raise QuantizationError(f"drop must be in [0, 1], not {self.drop}")
        if not 0 < self.held_out < 1:
            raise QuantizationError(f"held_out must lie between 0 and 1, not {self.held_out}")


@dataclass(frozen=True)
class Attempt:
    """Result of one attempt; ``score`` is that of the network with it and all attempts kept before
    it."""

    name: str
    score: Score
    kept: bool


@dataclass(frozen=True)
class Reconstructed:
    """The network, in evaluation mode, and the attempts, starting with plain rounding with
    corrected biases."""

    prepared: PreparedModel
    attempts: tuple[Attempt, ...]


def reconstruct(
    model: nn.Module | FloatGraph,
    calibration: Calibration,
    spec: QuantSpec,
    settings: Reconstruction | None = None,
    *,
    tell: Tell = lambda what, done, of: None,
    work: Path | None = None,
) -> Reconstructed:
    """Return a quantized copy of ``model``, without training and without labels.

    Parameters
    ----------
    model : nn.Module or FloatGraph
        The trained network; it is not changed.
    calibration : Tensor, tuple of Tensor or SampleChunks
        Inputs as the network will see them: about a hundred images or more. They are read in
        chunks, several times; memory use does not depend on their number.
    spec : QuantSpec
        Formats, bits and scale rules.
    settings : Reconstruction, optional
    tell : callable, optional
        Called with the current activity, the multiply-accumulates done, and their total number.
    work : Path, optional
        Folder for the state of an interrupted reconstruction, which then resumes from there, with
        bit-identical results; the state is removed at the end.
    """
    settings = settings or Reconstruction()
    samples = as_chunks(calibration)
    if isinstance(model, FloatGraph):
        graph = model
    else:
        graph = import_model(model, tuple(x[:2] for x in next(micro_batches(samples))))
    check_parameters(graph)
    held = max(1, round(len(samples) * settings.held_out))
    if len(samples) - held < 1:
        raise QuantizationError(
            f"reconstruction needs at least 2 samples, to learn from and to compare on, not "
            f"{len(samples)}"
        )
    seen = Part(samples, 0, len(samples) - held)
    unseen = Part(samples, len(samples) - held, len(samples))
    graph = fold_batch_norms(graph)
    folder = None if work is None else work / digest_of(graph, samples, spec, settings)
    attempts = _Attempts(graph, seen, unseen, spec, settings, tell, Progress(folder))
    found = attempts.all()
    attempts.progress.finish()
    return found


@dataclass(frozen=True)
class _Setup:
    """A network to quantize: its reference, whose graph holds its parameters, and statistics."""

    graph: FloatGraph
    reference: Reference
    found: Statistics


class _Attempts:
    def __init__(
        self,
        graph: FloatGraph,
        seen: SampleChunks,
        unseen: SampleChunks,
        spec: QuantSpec,
        settings: Reconstruction,
        tell: Tell,
        progress: Progress,
    ) -> None:
        self._seen, self._spec, self._settings, self._tell = seen, spec, settings, tell
        self._graph, self.progress = graph, progress
        self._judge = Judge(graph, unseen)

    def all(self) -> Reconstructed:
        """Every attempt of the settings."""
        settings = self._settings
        setup = _Setup(self._graph, Reference(self._graph), observe(self._graph, self._seen))
        best, score = self._attempt(PLAIN, setup, compensate=False, learn=False)
        found = [Attempt(PLAIN, score, True)]
        compensate = False
        if settings.equalize:
            equal = equalize_activations(self._graph, best, self._seen)
            if equal is not None:
                reference = Reference(self._graph, equal.divisors)
                other = _Setup(equal.graph, reference, observe(reference, self._seen))
                prepared, new = self._attempt(EQUALIZED, other, compensate=False, learn=False)
                if self._take(EQUALIZED, new, score, found):
                    best, score, setup = prepared, new, other
        if settings.compensate:
            prepared, new = self._attempt(COMPENSATED, setup, compensate=True, learn=False)
            if compensate := self._take(COMPENSATED, new, score, found):
                best, score = prepared, new
        if settings.learn:
            prepared, new = self._attempt(LEARNED, setup, compensate=compensate, learn=True)
            if self._take(LEARNED, new, score, found):
                best, score = prepared, new
        return Reconstructed(best, tuple(found))

    def _take(self, name: str, new: Score, old: Score, found: list[Attempt]) -> bool:
        kept = new.beats(old) or not self._settings.judge
        found.append(Attempt(name, new, kept))
        return kept

    def _attempt(
        self, name: str, setup: _Setup, *, compensate: bool, learn: bool
    ) -> tuple[PreparedModel, Score]:
        """Quantize the network anew; return it with its score."""
        prepared = prepare_calibrated(setup.graph, self._spec, setup.found).eval()
        settle(prepared)
        stands = self.progress.load(name, prepared)
        if (known := stands.get("score")) is not None:
            same, lost, error = known
            return prepared, Score(tuple(same), tuple(lost), error)
        blocks, uses = joined(prepared.plan), Uses(prepared)
        steps: list[Step] = [ErrorCompensation(uses)] if compensate else []
        steps.append(BiasCorrection(uses, setup.found))
        if learn:
            steps.append(BlockLearning(uses, self._settings.steps, self._settings.drop))
        work = [_work(block) for block in blocks]

        def after(number: int) -> None:
            self._tell(f"reconstructing: {name}", sum(work[:number]), sum(work))
            if learn and number > stands.get("blocks", 0):
                self.progress.save(name, prepared, blocks=number)

        targets = any(step.needs_targets for step in steps)
        self._tell(f"reconstructing: {name}", 0, sum(work))
        with Walk(prepared, setup.reference, self._seen, blocks, targets) as walk:
            go(walk, steps, stands.get("blocks", 0), after)
        score = self._judge(prepared)
        self.progress.save(name, prepared, score=(score.same, score.lost, score.error))
        return prepared, score


def _work(block: Block) -> int:
    """Multiply-accumulates of a block, and its elements, to which its time is roughly
    proportional."""
    total = 0
    for p in block.plans:
        places = math.prod(p.shape[1:])
        total += 4 * math.prod(p.shape)
        for s in getattr(p, "sources", ()):
            total += p.shape[0] * places * (s.channels // s.groups) * math.prod(s.kernel)
    return total
