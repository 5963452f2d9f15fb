"""From a trained float network to a Program, without training."""

from dataclasses import replace
from pathlib import Path

from sigbit.compiler import compile_graph
from sigbit.errors import UserError
from sigbit.flows.budget import Budget, within_luts
from sigbit.flows.bulk import BulkModel, runtime
from sigbit.flows.details.tensors import Tensors, measure
from sigbit.flows.formats import Formats
from sigbit.flows.inspect import inspect
from sigbit.flows.progress import Tell, silent
from sigbit.flows.quality import (
    MEASURED,
    agreement,
    layer_codes,
    layer_qualities,
    refuse_inexact,
)
from sigbit.flows.quantized import (
    PostTraining,
    QuantizationDetails,
    QuantizedNetwork,
    ReconstructionStep,
)
from sigbit.flows.recipe import within
from sigbit.flows.result import Stopwatch
from sigbit.inputs.accelerators import load_arch
from sigbit.inputs.networks import FloatNetwork, Model, Network, load_network
from sigbit.inputs.samples import (
    Calibration,
    SampleData,
    Samples,
    classes_of,
    load_samples,
    preprocessing_of,
)
from sigbit.ir import MODEL_SUFFIX
from sigbit.quant import PreparedModel, QuantSpec, convert
from sigbit.quant.post import equalized, fold_batch_norms, post_training, reconstruct
from sigbit.quant.post.corrections import Corrections
from sigbit.quant.post.reconstruction.judge import Score
from sigbit.quant.prepare import check_parameters
from sigbit.training import reproducible
from sigbit.training.finetune import fine_tune
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program
from sigbit_tools.toolchain import cache_dir

RECONSTRUCTION_SAMPLES, ACCURACY_SAMPLES, TRAINING_SAMPLES = 128, 256, 1024
"""Default numbers of samples for a reconstruction, an estimate of accuracy, and a fine-tuning."""
PROGRAM_SUFFIX = ".sigbit"
"""Suffix of Programs' files."""


def quantize(
    network: "Model | Network",
    calibration: SampleData | Calibration,
    output: Path | None = None,
    *,
    arch: str | ArchConfig = "micro",
    formats: Formats | None = None,
    budget: Budget | None = None,
    post: PostTraining | None = None,
    tell: Tell = silent,
) -> QuantizedNetwork:
    """Quantize a trained float network and compile it.

    Raises :class:`~sigbit_tools.errors.SigbitError` for a network or data that do not exist, do not
    fit, or cannot be quantized or compiled; nothing is written in that case.

    Parameters
    ----------
    network : str, model or Network
        The float network; a name or a model alone is enough for networks that know their inputs.
    calibration : str, arrays or Calibration
        The samples to calibrate and to test with; a name or arrays alone give the default number.
    output : Path, optional
        Output file: ``NET.sigbit``, the Program, or ``NET.sbm``, the integer model.
    arch : str or ArchConfig
        The accelerator; a budget of LUTs chooses another number system for it.
    formats : Formats, optional
        Bits of weights and activations; the accelerator's own if not given.
    budget : Budget, optional
        Limits for the search for a number system and for bits.
    post : PostTraining, optional
        Steps to apply.
    """
    watch = Stopwatch()
    wanted = Network.of(network)
    samples = Calibration.of(calibration)
    formats, budget, post = formats or Formats(), budget or Budget(), post or PostTraining()
    if samples.images is None:
        samples = replace(samples, images=_images(budget, post))
    _check(output, formats, budget)
    if samples.bulk:
        runtime()
    config = load_arch(arch)
    formats.spec(config)
    tell(f"importing {wanted.name}")
    loaded = load_network(wanted)
    tell(f"reading {samples.name}")
    how = preprocessing_of(samples, loaded)
    seen, tested = load_samples(samples, loaded)
    classes = classes_of(samples, loaded, tested)
    with reproducible():
        search = _Search(loaded, seen, post, tell)
        systems = chosen = None
        if budget.luts is not None:
            config, systems = within_luts(
                budget.luts,
                budget.target,
                search.graph,
                search.samples,
                config,
                lambda candidate: search.quantized(formats.spec(candidate)),
                tell,
            )
        spec = formats.spec(config)
        if post.finetune is not None:
            spec = replace(spec, weight_scale="learned", act_scale="learned")
        if budget.of_bits is not None:
            spec, chosen = within(
                budget.of_bits, search.graph, search.samples, spec, config, search.correct, tell
            )
        tell(f"searching scales on {len(seen)} samples")
        prepared, attempts = search.final(spec)
        tell("converting to integers")
        integer = convert(prepared, preprocessing=how, classes=classes)
        codes = layer_codes(prepared)
        if post.exact:
            refuse_inexact(wanted.name, bool(loaded.graph.quantizers), codes)
        layers = layer_qualities(prepared, search.graph, seen, tell)
        tensors = search.measured(prepared) if samples.details else None
        quality = agreement(loaded, BulkModel(integer) if samples.bulk else integer, tested, tell)
    program = None
    if output is not None and output.suffix == MODEL_SUFFIX:
        integer.save(output)
    else:
        program = compile_graph(
            integer.graph, config, progress=lambda name, n, of: tell(f"compiling: {name}", n, of)
        )
        if output is not None:
            program.save(output)
    return QuantizedNetwork(
        integer=integer,
        config=config,
        program=program,
        file=output,
        model=wanted.name,
        weights=loaded.weights,
        formats=formats,
        budget=budget,
        post=post,
        number_systems=systems,
        chosen_bits=chosen,
        reconstruction=attempts,
        quantizers=len(loaded.graph.quantizers),
        calibration=seen.origin,
        test=tested.origin,
        quality=quality,
        layers=layers,
        codes=codes,
        details=_details(program, tensors),
        **watch.read(),
    )


def _images(budget: Budget, post: PostTraining) -> int | None:
    """Return the default number of calibration samples; None for that of scales alone."""
    if post.finetune is not None:
        return TRAINING_SAMPLES
    if budget.accuracy is not None:
        return ACCURACY_SAMPLES
    return None if post.reconstruct is None else RECONSTRUCTION_SAMPLES


def _details(program: Program | None, tensors: Tensors | None) -> QuantizationDetails | None:
    if tensors is None:
        return None
    inspected = None if program is None else inspect(program, details=True)
    return QuantizationDetails(inspected, tensors)


def _check(output: Path | None, formats: Formats, budget: Budget) -> None:
    if output is not None and output.suffix not in (PROGRAM_SUFFIX, MODEL_SUFFIX):
        raise UserError(
            f"-o must end in {PROGRAM_SUFFIX} (a Program) or {MODEL_SUFFIX} (an integer model), "
            f"not {output.name}"
        )
    if budget.of_bits is not None and formats.bits:
        raise UserError("--bits and --budget both give bits to layers: choose one")
    if budget.luts is not None and (formats.weights or formats.acts or formats.bits):
        raise UserError(
            "--budget luts=N chooses the array's formats: leave out --weights, --acts and --bits, "
            "or the budget"
        )


def _step(name: str, score: Score, kept: bool) -> ReconstructionStep:
    return ReconstructionStep(name, score.agreement, score.error, kept)


class _Search:
    """The network for the search for scales and bits, and the samples to search on.

    Its batch norms are folded, and its layers equalized if ``post`` says so.
    """

    def __init__(
        self, network: FloatNetwork, samples: Samples, post: PostTraining, tell: Tell
    ) -> None:
        self._post, self._tell = post, tell
        self.samples = samples
        check_parameters(network.graph)
        tell("folding batch norms")
        self.graph = fold_batch_norms(network.graph)
        if post.equalize:
            tell("equalizing layers")
            self.graph = equalized(self.graph, self.samples)

    def final(self, spec: QuantSpec) -> tuple[PreparedModel, tuple[ReconstructionStep, ...] | None]:
        """Return the network with the best scales, reconstructed and fine-tuned if requested, and
        the effect of each of these steps."""
        steps: list[ReconstructionStep] = []
        if self._post.reconstruct is None:
            prepared = self.quantized(spec)
        else:
            found = reconstruct(
                self.graph,
                self.samples,
                spec,
                self._post.reconstruct,
                tell=self._tell,
                work=cache_dir() / "reconstruction",
            )
            prepared = found.prepared
            steps += [_step(a.name, a.score, a.kept) for a in found.attempts]
        if self._post.finetune is not None:
            tuned = fine_tune(
                prepared,
                self.graph,
                self.samples,
                self._post.finetune,
                labels=self.samples.labels,
                tell=self._tell,
            )
            prepared = tuned.prepared
            steps = steps or [_step("rounded", tuned.before, True)]
            steps.append(_step("fine-tuned", tuned.after, tuned.kept))
        return prepared, tuple(steps) or None

    def correct(self, found: Corrections, spec: QuantSpec) -> Corrections:
        """Return ``found`` with the corrections of these steps, except for learning; ``spec`` has
        the least bits."""
        post, settings = self._post, self._post.reconstruct
        if settings is None:
            return replace(found, bias=post.bias_correction, activation_aware=post.activation_aware)
        found = replace(found, compensate=settings.compensate)
        if settings.equalize:
            self._tell("equalizing activations")
            found = found.equalized(spec)
        return found

    def measured(self, prepared: PreparedModel) -> Tensors:
        """Return the tensors of ``prepared`` beside those of the float network."""
        batch = self.samples.tensors(0, MEASURED)
        samples = f"{len(batch[0])} calibration samples"
        return measure(prepared, self.graph, batch, samples, self._tell)

    def quantized(self, spec: QuantSpec) -> PreparedModel:
        """Return the network with the best scales."""
        return post_training(
            self.graph,
            self.samples,
            spec,
            correct_bias=self._post.bias_correction,
            activation_aware=self._post.activation_aware,
        )
