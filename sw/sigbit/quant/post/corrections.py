"""Corrections that a network gets after rounding, in one pass over its layers: scales for the
results, error-compensated rounding, biases."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.reference import Reference
from sigbit.quant.calibration.samples import SampleChunks
from sigbit.quant.calibration.statistics import Statistics, observe
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.post.activation_aware import ActivationAwareScales
from sigbit.quant.post.correction import BiasCorrection
from sigbit.quant.post.outputs import float_outputs, output_error
from sigbit.quant.post.reconstruction.blocks import singles
from sigbit.quant.post.reconstruction.ranges import equalize_activations
from sigbit.quant.post.reconstruction.rounding import ErrorCompensation
from sigbit.quant.post.reconstruction.walk import Step, Walk, go
from sigbit.quant.post.uses import Uses
from sigbit.quant.prepare import prepare_calibrated
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.spec import QuantSpec


@dataclass(frozen=True)
class Corrections:
    """A network without foldable batch norms, and the corrections of its quantized copies.

    Parameters
    ----------
    graph : FloatGraph
        The float network with the parameters to quantize.
    reference : Reference
        The values that it should have.
    found : Statistics
        Its tensors on the samples.
    samples : SampleChunks
        Samples on which corrections are computed. They are those of the statistics: the means of
        other samples are others.
    bias : bool
        Subtract the mean error of every layer from its bias.
    activation_aware : bool
        Search scales of weights for the least error of the layers' results.
    compensate : bool
        Round weights one after another, and let the others compensate the error.
    """

    graph: FloatGraph
    reference: Reference
    found: Statistics
    samples: SampleChunks
    bias: bool = True
    activation_aware: bool = False
    compensate: bool = False

    @classmethod
    def of(cls, graph: FloatGraph, samples: SampleChunks, **steps: bool) -> "Corrections":
        """Corrections by ``steps``, the fields by name, with statistics on the same samples."""
        reference = Reference(graph)
        return cls(graph, reference, observe(reference, samples), samples, **steps)

    def on(self, samples: SampleChunks) -> "Corrections":
        """The same corrections computed on other samples."""
        return replace(self, found=observe(self.reference, samples), samples=samples)

    def equalized(self, spec: QuantSpec) -> "Corrections":
        """The same corrections of the network with equalized activations, if it has less error
        then, quantized by ``spec``; otherwise these."""
        equal = equalize_activations(self.graph, self.rounded(spec), self.samples)
        if equal is None:
            return self
        reference = Reference(self.graph, equal.divisors)
        other = replace(self, graph=equal.graph, reference=reference).on(self.samples)
        wanted = float_outputs(self.graph, self.samples)
        errors = [
            output_error(of.quantized(spec, ()), self.samples, wanted) for of in (self, other)
        ]
        return other if errors[1] < errors[0] else self

    def rounded(self, spec: QuantSpec) -> PreparedModel:
        """The network quantized by ``spec`` without corrections, in evaluation mode."""
        return prepare_calibrated(self.graph, spec, self.found).eval()

    def quantized(
        self, spec: QuantSpec, compensated: Collection[str] | None = None
    ) -> PreparedModel:
        """The network quantized by ``spec`` and corrected, in evaluation mode; only the layers
        ``compensated``, if given, are rounded one weight after another."""
        prepared = self.rounded(spec)
        uses = Uses(prepared)
        steps: list[Step] = []
        if self.activation_aware:
            steps.append(ActivationAwareScales(bias_takes_means=self.bias))
        if self.compensate and (compensated is None or compensated):
            settle(prepared)
            steps.append(ErrorCompensation(uses, compensated))
        if self.bias:
            steps.append(BiasCorrection(uses, self.found))
        if steps:
            blocks = singles(prepared.plan)
            with Walk(prepared, self.reference, self.samples, blocks, targets=False) as walk:
                go(walk, steps)
        return prepared


def settle(prepared: PreparedModel) -> None:
    """Fix the scales of weights, regardless of later changes of the weights."""
    for p in prepared.plan.layers:
        module = prepared.quant_module(p.name)
        if not isinstance(module, QuantLayer):
            continue
        quantizer = module.weight_quantizer
        if quantizer is not None and quantizer.rule.tracks and quantizer.folded:
            quantizer.give(quantizer.scale(module.kernel_of_method()).detach())
