"""Options and results of quantization."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigbit.errors import UserError
from sigbit.flows.budget import Budget, NumberSystem
from sigbit.flows.details.tensors import Tensors
from sigbit.flows.formats import Formats
from sigbit.flows.inspect import InspectedProgram
from sigbit.flows.program_facts import ProgramFacts
from sigbit.flows.quality import Agreement, LayerCodes, LayerQuality
from sigbit.flows.recipe import ChosenBits
from sigbit.flows.result import Result, plain
from sigbit.ir.model_file import model_digest
from sigbit.quant import IntegerModel
from sigbit.quant.post import Reconstruction
from sigbit.training.finetune import FineTuning
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program


@dataclass(frozen=True)
class PostTraining:
    """Steps of post-training quantization.

    Parameters
    ----------
    equalize : bool
        Even out the ranges of neighbouring layers.
    bias_correction : bool
        Subtract the mean error of every layer from its bias.
    activation_aware : bool
        Search scales of weights for the least error of the layers' results.
    reconstruct : Reconstruction, optional
        Round weights, and learn, for the least error of layers and blocks, as far as that raises
        agreement with the float network.
    finetune : FineTuning, optional
        Train the network afterwards, as far as that raises agreement with the float network.
    exact : bool
        Refuse a network that is not quantized, or that has a layer without its codes.
    """

    equalize: bool = False
    bias_correction: bool = True
    activation_aware: bool = False
    reconstruct: Reconstruction | None = None
    finetune: FineTuning | None = None
    exact: bool = False

    @property
    def steps(self) -> str:
        """Title of the steps that are measured on held-out samples."""
        titles = {"Reconstruction": self.reconstruct, "Fine-tuning": self.finetune}
        return " and ".join(t for t, on in titles.items() if on).capitalize()

    def __post_init__(self) -> None:
        if self.finetune and self.exact:
            raise UserError(
                "--exact wants the codes of the model, which --finetune changes: choose one"
            )
        if self.reconstruct and (self.activation_aware or not self.bias_correction):
            raise UserError(
                "--reconstruct corrects biases and rounds for the least error of the layers' "
                "results by itself: leave out --no-bias-correction and --activation-aware"
            )


@dataclass(frozen=True)
class ReconstructionStep:
    """A step of reconstruction, or the fine-tuning.

    Parameters
    ----------
    step : str
    agreement : float
        Share of the decisions on held-out calibration samples that agree with the float network,
        with the step and all steps kept before it.
    error : float
        Relative squared error of the outputs there.
    kept : bool
    """

    step: str
    agreement: float
    error: float
    kept: bool


@dataclass(frozen=True)
class QuantizationDetails:
    """Data for reports only: the Program, taken apart, None if an integer model was written
    instead, and the tensors beside the float network's."""

    program: InspectedProgram | None
    tensors: Tensors


@dataclass(frozen=True, kw_only=True)
class QuantizedNetwork(Result):
    """A quantized network and its quality.

    Parameters
    ----------
    integer : IntegerModel
    config : ArchConfig
        The accelerator; with a budget of LUTs the chosen one.
    program : Program, optional
        None if the integer model was written instead.
    file : Path, optional
        The file that was written.
    model, weights : str
        The name of the network, and the origin of its weights.
    formats, budget, post
        Arguments of :func:`~sigbit.flows.quantize.quantize`.
    number_systems : tuple of NumberSystem, optional
        With a budget of LUTs: accelerators that were considered, by ascending error.
    chosen_bits : ChosenBits, optional
        With a budget of cycles, bytes or accuracy: the bits of each layer, and how they were found.
    reconstruction : tuple of ReconstructionStep, optional
        With reconstruction or fine-tuning: the effect of each step.
    quantizers : int
        Quantizers in the float network.
    calibration, test : str
        Samples used for calibration and for testing.
    quality : Agreement
    layers : tuple of LayerQuality
    codes : tuple of LayerCodes
        Of a quantized network: the layers whose codes it defines.
    details : QuantizationDetails, optional
        None if they were not requested.
    """

    integer: IntegerModel
    config: ArchConfig
    program: Program | None
    file: Path | None
    model: str
    weights: str
    formats: Formats
    budget: Budget
    post: PostTraining
    number_systems: tuple[NumberSystem, ...] | None
    chosen_bits: ChosenBits | None
    reconstruction: tuple[ReconstructionStep, ...] | None
    quantizers: int
    calibration: str
    test: str
    quality: Agreement
    layers: tuple[LayerQuality, ...]
    codes: tuple[LayerCodes, ...]
    details: QuantizationDetails | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures by name."""
        luts = self.budget.luts
        return {
            "schema_version": self.schema_version,
            "model": self.model,
            "weights": self.weights,
            "arch": self.config.name,
            "arch_digest": self.config.digest,
            "config": self.config.to_json(),
            "formats": plain(self.formats),
            "number_systems": plain(self.number_systems),
            "lut_budget": luts and {"limit": luts, "target": self.budget.target.value},
            "budget": plain(self.chosen_bits),
            **plain(self.post),
            "reconstruction": plain(self.reconstruction),
            "quantizers": self.quantizers,
            "calibration": self.calibration,
            "test": self.test,
            **plain(self.quality),
            "layers": plain(self.layers),
            "codes": plain(self.codes),
            "details": plain(self.details),
            "file": plain(self.file),
            "integer_model": {"digest": model_digest(self.integer.graph)},
            "program": plain(self.program and ProgramFacts.of(self.program)),
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }
