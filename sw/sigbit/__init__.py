"""Train low-bit networks in PyTorch and compile them for the sigbit accelerator.

The public interface is what this package offers by name; everything else may change. Names are
imported when they are first used, so that ``import sigbit`` itself imports neither PyTorch nor the
gateware.

* From a float network to integers: :func:`check`, :func:`quantize`, or :func:`prepare`, training,
  and :func:`convert`; :class:`Network`, :class:`Calibration`, :class:`QuantSpec`,
  :class:`Formats`, :class:`Budget`, :class:`PostTraining`, :class:`Reconstruction` and
  :class:`FineTuning` say what and how. :func:`train`, :func:`sweep` and :func:`methods` serve
  configuration files; :func:`load_plugin` adds methods.
* Integer models: :class:`IntegerModel`, :class:`IntegerGraph`, :func:`load_model`,
  :func:`save_model`, :func:`export_model`.
* Programs: :func:`compile`, :class:`Program`, :func:`load_program`, :func:`inspect`.
* Devices: :func:`device`, :class:`Session`, :func:`run`, :func:`compare`.
* Accelerators: :class:`ArchConfig`, :data:`PRESETS`, :func:`load_arch`, :func:`write_verilog`,
  :func:`synth`, :func:`build`, :func:`sweep_phases`.
* Exceptions: :class:`SigbitError` is the base of those whose text is for people.
"""

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sigbit.errors import CompileError, QuantizationError, UserError
    from sigbit.flows.arch import EmittedVerilog, write_verilog
    from sigbit.flows.budget import Budget
    from sigbit.flows.build import Built, build
    from sigbit.flows.check import CheckedNetwork, check
    from sigbit.flows.compile import compile
    from sigbit.flows.devices import device
    from sigbit.flows.export import ExportedModel, OnnxOptions, export_model
    from sigbit.flows.formats import Formats
    from sigbit.flows.inspect import InspectedProgram, inspect
    from sigbit.flows.methods import Methods, methods
    from sigbit.flows.phases import PhaseSweep, sweep_phases
    from sigbit.flows.program_memory import ProgramMemory
    from sigbit.flows.quantize import quantize
    from sigbit.flows.quantized import PostTraining, QuantizedNetwork
    from sigbit.flows.run import ProgramRun, compare, run
    from sigbit.flows.sweep import SweepOutcome, sweep
    from sigbit.flows.synth import Synthesized, synth
    from sigbit.flows.train import TrainedModel, train
    from sigbit.frontend import UnsupportedModel
    from sigbit.inputs.accelerators import load_arch
    from sigbit.inputs.images import ImageOptions
    from sigbit.inputs.integer_models import load_model
    from sigbit.inputs.networks import Network
    from sigbit.inputs.programs import load_program
    from sigbit.inputs.samples import Calibration
    from sigbit.ir.integer import IntegerGraph
    from sigbit.ir.model_file import save_model
    from sigbit.plugins import load_plugin
    from sigbit.quant import IntegerModel, PreparedModel, QuantSpec, convert, prepare
    from sigbit.quant.post import Reconstruction
    from sigbit.runtime import (
        BoardError,
        Device,
        DeviceError,
        Mismatch,
        RunCancelled,
        RunTimeout,
        Session,
        SessionResult,
    )
    from sigbit.training import Machine, load_run
    from sigbit.training import Options as TrainingOptions
    from sigbit.training.finetune import FineTuning
    from sigbit_hw.arch.config import PRESETS, ArchConfig
    from sigbit_hw.arch.preprocessing import ImagePreprocessing
    from sigbit_hw.arch.program import Program, ProgramError
    from sigbit_tools.errors import SigbitError

    __version__: str

_HOMES = MappingProxyType(
    {
        "PRESETS": "sigbit_hw.arch.config:PRESETS",
        "ArchConfig": "sigbit_hw.arch.config:ArchConfig",
        "BoardError": "sigbit.runtime:BoardError",
        "Budget": "sigbit.flows.budget:Budget",
        "Built": "sigbit.flows.build:Built",
        "Calibration": "sigbit.inputs.samples:Calibration",
        "CheckedNetwork": "sigbit.flows.check:CheckedNetwork",
        "CompileError": "sigbit.errors:CompileError",
        "Device": "sigbit.runtime:Device",
        "DeviceError": "sigbit.runtime:DeviceError",
        "EmittedVerilog": "sigbit.flows.arch:EmittedVerilog",
        "ExportedModel": "sigbit.flows.export:ExportedModel",
        "FineTuning": "sigbit.training.finetune:FineTuning",
        "Formats": "sigbit.flows.formats:Formats",
        "ImageOptions": "sigbit.inputs.images:ImageOptions",
        "ImagePreprocessing": "sigbit_hw.arch.preprocessing:ImagePreprocessing",
        "InspectedProgram": "sigbit.flows.inspect:InspectedProgram",
        "IntegerGraph": "sigbit.ir.integer:IntegerGraph",
        "IntegerModel": "sigbit.quant:IntegerModel",
        "Machine": "sigbit.training:Machine",
        "Methods": "sigbit.flows.methods:Methods",
        "Mismatch": "sigbit.runtime:Mismatch",
        "Network": "sigbit.inputs.networks:Network",
        "OnnxOptions": "sigbit.flows.export:OnnxOptions",
        "PhaseSweep": "sigbit.flows.phases:PhaseSweep",
        "PostTraining": "sigbit.flows.quantized:PostTraining",
        "PreparedModel": "sigbit.quant:PreparedModel",
        "Program": "sigbit_hw.arch.program:Program",
        "ProgramError": "sigbit_hw.arch.program:ProgramError",
        "ProgramMemory": "sigbit.flows.program_memory:ProgramMemory",
        "ProgramRun": "sigbit.flows.run:ProgramRun",
        "QuantSpec": "sigbit.quant:QuantSpec",
        "QuantizationError": "sigbit.errors:QuantizationError",
        "QuantizedNetwork": "sigbit.flows.quantized:QuantizedNetwork",
        "Reconstruction": "sigbit.quant.post:Reconstruction",
        "RunCancelled": "sigbit.runtime:RunCancelled",
        "RunTimeout": "sigbit.runtime:RunTimeout",
        "Session": "sigbit.runtime:Session",
        "SessionResult": "sigbit.runtime:SessionResult",
        "SigbitError": "sigbit_tools.errors:SigbitError",
        "SweepOutcome": "sigbit.flows.sweep:SweepOutcome",
        "Synthesized": "sigbit.flows.synth:Synthesized",
        "TrainedModel": "sigbit.flows.train:TrainedModel",
        "TrainingOptions": "sigbit.training:Options",
        "UnsupportedModel": "sigbit.frontend:UnsupportedModel",
        "UserError": "sigbit.errors:UserError",
        "build": "sigbit.flows.build:build",
        "check": "sigbit.flows.check:check",
        "compare": "sigbit.flows.run:compare",
        "compile": "sigbit.flows.compile:compile",
        "convert": "sigbit.quant:convert",
        "device": "sigbit.flows.devices:device",
        "export_model": "sigbit.flows.export:export_model",
        "inspect": "sigbit.flows.inspect:inspect",
        "load_arch": "sigbit.inputs.accelerators:load_arch",
        "load_model": "sigbit.inputs.integer_models:load_model",
        "load_plugin": "sigbit.plugins:load_plugin",
        "load_program": "sigbit.inputs.programs:load_program",
        "load_run": "sigbit.training:load_run",
        "methods": "sigbit.flows.methods:methods",
        "prepare": "sigbit.quant:prepare",
        "quantize": "sigbit.flows.quantize:quantize",
        "run": "sigbit.flows.run:run",
        "save_model": "sigbit.ir.model_file:save_model",
        "sweep": "sigbit.flows.sweep:sweep",
        "sweep_phases": "sigbit.flows.phases:sweep_phases",
        "synth": "sigbit.flows.synth:synth",
        "train": "sigbit.flows.train:train",
        "write_verilog": "sigbit.flows.arch:write_verilog",
    }
)
"""Definition of every name of the public interface: ``module:name``."""

__all__ = [
    "PRESETS",
    "ArchConfig",
    "BoardError",
    "Budget",
    "Built",
    "Calibration",
    "CheckedNetwork",
    "CompileError",
    "Device",
    "DeviceError",
    "EmittedVerilog",
    "ExportedModel",
    "FineTuning",
    "Formats",
    "ImageOptions",
    "ImagePreprocessing",
    "InspectedProgram",
    "IntegerGraph",
    "IntegerModel",
    "Machine",
    "Methods",
    "Mismatch",
    "Network",
    "OnnxOptions",
    "PhaseSweep",
    "PostTraining",
    "PreparedModel",
    "Program",
    "ProgramError",
    "ProgramMemory",
    "ProgramRun",
    "QuantSpec",
    "QuantizationError",
    "QuantizedNetwork",
    "Reconstruction",
    "RunCancelled",
    "RunTimeout",
    "Session",
    "SessionResult",
    "SigbitError",
    "SweepOutcome",
    "Synthesized",
    "TrainedModel",
    "TrainingOptions",
    "UnsupportedModel",
    "UserError",
    "build",
    "check",
    "compare",
    "compile",
    "convert",
    "device",
    "export_model",
    "inspect",
    "load_arch",
    "load_model",
    "load_plugin",
    "load_program",
    "load_run",
    "methods",
    "prepare",
    "quantize",
    "run",
    "save_model",
    "sweep",
    "sweep_phases",
    "synth",
    "train",
    "write_verilog",
]

if not TYPE_CHECKING:  # type checkers would take any name for offered

    def __getattr__(name: str) -> object:
        """Import ``name`` from its home, once."""
        if name == "__version__":
            from importlib.metadata import version

            value = version("sigbit")
        elif name in _HOMES:
            module, _, attribute = _HOMES[name].partition(":")
            value = getattr(importlib.import_module(module), attribute)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Return the public interface."""
        return [*__all__, "__doc__", "__version__"]
