"""WRPN's widening (arXiv 1709.01134): the same network with more filters in every layer."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sigbit.errors import QuantizationError
from sigbit.ir.convolution import row_major_convolutions

_Layer = nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear


@row_major_convolutions()
def widen(model: nn.Module, factor: int, *example_inputs: Tensor) -> nn.Module:
    """Return a copy of ``model`` with ``factor`` times the channels between its first and its last
    layer, newly initialized (torch's global generator), to be trained from scratch.

    Layers that read an input of the network, or produce its output, keep that side; they are
    determined by running ``example_inputs``. Raises :class:`QuantizationError` if the wider network
    does not run, or returns another shape.
    """
    if factor < 1:
        raise QuantizationError(f"factor must be a positive integer, not {factor!r}")
    firsts, last = _ends(model, example_inputs)
    wide = copy.deepcopy(model)
    for name, module in wide.named_modules():
        if isinstance(module, _Layer):
            _widen_layer(module, 1 if name in firsts else factor, 1 if name == last else factor)
        elif isinstance(module, _BatchNorm):
            _replace(module, "num_features", factor)
    for module in wide.modules():
        if isinstance(module, (_Layer, _BatchNorm)):
            module.reset_parameters()
    with torch.no_grad():
        wanted = model(*example_inputs)
        try:
            got = wide(*example_inputs)
        except RuntimeError as error:
            raise QuantizationError(
                f"{type(model).__name__} cannot be widened automatically ({error}): give it a "
                "width of its own"
            ) from error
    if wanted.shape != got.shape:
        raise QuantizationError(
            f"widening would change the output from {tuple(wanted.shape)} to {tuple(got.shape)}"
        )
    return wide


def _ends(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[set[str], str]:
    """Names of the layers that read an input, and of the last one."""
    firsts: set[str] = set()
    ran: list[str] = []
    storages = {x.untyped_storage().data_ptr() for x in inputs}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            ran.append(name)
            if args[0].untyped_storage().data_ptr() in storages:
                firsts.add(name)

        return hook

    hooks = [
        m.register_forward_pre_hook(note(name))
        for name, m in model.named_modules()
        if isinstance(m, _Layer)
    ]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not ran:
        raise QuantizationError(f"{type(model).__name__} has no convolution or linear layer")
    return firsts or {ran[0]}, ran[-1]


def _widen_layer(layer: _Layer, inputs: int, outputs: int) -> None:
    """Multiply a layer's channels; depthwise ones stay depthwise."""
    if isinstance(layer, nn.Linear):
        layer.in_features *= inputs
        layer.out_features *= outputs
        shape: tuple[int, ...] = (layer.out_features, layer.in_features)
    else:
        if layer.groups == layer.in_channels and layer.groups > 1:
            layer.groups *= inputs
        layer.in_channels *= inputs
        layer.out_channels *= outputs
        a, b = layer.out_channels, layer.in_channels
        a, b = (b, a) if layer.transposed else (a, b)
        shape = (a, b // layer.groups, *layer.kernel_size)
    layer.weight = nn.Parameter(layer.weight.new_empty(shape))
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.new_empty(layer.bias.numel() * outputs))


def _replace(norm: _BatchNorm, count: str, factor: int) -> None:
    """Multiply the features of a batch norm."""
    setattr(norm, count, getattr(norm, count) * factor)
    for name in ("weight", "bias"):
        if (old := getattr(norm, name)) is not None:
            setattr(norm, name, nn.Parameter(old.new_empty(norm.num_features)))
    for name in ("running_mean", "running_var"):
        if (buffer := getattr(norm, name)) is not None:
            setattr(norm, name, buffer.new_empty(norm.num_features))
