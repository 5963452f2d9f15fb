"""What can be wrong with a model, its calibration or a spec: clear errors or tested behaviour."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sigbit.frontend import UnsupportedModel
from sigbit.ir.integer import Conv
from sigbit.quant import PreparedModel, QuantizationError, QuantSpec, convert, prepare
from sigbit_hw.arch.formats import EsbFormat

X = torch.rand(4, 2, 6, 6)


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3)
    )


def equal(prepared: PreparedModel, x: Tensor) -> bool:
    a, b = prepared.stored(x), convert(prepared).stored(x)
    return all(torch.equal(a[k], b[k]) for k in a)


def test_a_single_input_needs_no_tuple() -> None:
    torch.manual_seed(0)
    model = net()
    alone, tuples = prepare(model, QuantSpec(), X, X), prepare(model, QuantSpec(), (X,), (X,))
    a, b = alone.stored(X), tuples.stored(X)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["0.weight", "0.bias", "1.running_var"])
def test_parameters_must_be_finite(name: str, value: float) -> None:
    model = net()
    model.state_dict()[name].view(-1)[1] = value
    with pytest.raises(QuantizationError, match=rf"'{name}' holds NaN or infinity \(1 of"):
        prepare(model, QuantSpec(), (X,))


def test_parameters_must_stay_finite() -> None:
    prepared = prepare(net(), QuantSpec(), (X,))
    with torch.no_grad():
        next(prepared.parameters()).view(-1)[0] = torch.nan
    with pytest.raises(QuantizationError, match="the training diverged"):
        convert(prepared)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("methods", [{}, {"weight_method": "qn", "act_method": "qn"}])
def test_what_is_not_finite_is_named(methods: dict[str, object], value: float) -> None:
    bits = {"weight_bits": 2, "act_bits": 2} if methods else {}
    prepared = prepare(net(), QuantSpec(**methods, **bits), (X,))
    broken = X.clone()
    broken.view(-1)[5] = value
    for model in (prepared, prepared.train(), convert(prepared.eval())):
        with pytest.raises((QuantizationError, ValueError), match=r"input '.*' holds NaN or inf"):
            model(broken)
    with torch.no_grad():
        next(prepared.parameters()).view(-1)[0] = value
    for model in (prepared.train(), prepared.eval()):
        with pytest.raises(QuantizationError, match=r"NaN or infinite: the training diverged"):
            model(X)


def test_calibration_must_be_finite_and_alive() -> None:
    with pytest.raises(QuantizationError, match=r"calibration batch of .* holds NaN"):
        prepare(net(), QuantSpec(), (X,), (torch.full_like(X, torch.nan),))
    with pytest.raises(
        QuantizationError, match="is 0 on the whole calibration batch; give an input_range"
    ):
        prepare(net(), QuantSpec(), (X,), (torch.zeros_like(X),))
    with pytest.raises(QuantizationError, match="calibration must be a tuple of 1 batches"):
        prepare(net(), QuantSpec(), (X,), (X, X))
    model = net()
    model[1].bias.data.fill_(-100)
    with pytest.raises(QuantizationError, match="is 0 on the whole calibration batch of 4 samples"):
        prepare(model, QuantSpec(), (X,))


@pytest.mark.parametrize("rule", ["dda", "mse", "learned"])
@pytest.mark.parametrize(
    "change", ["dead", "constant", "huge", "tiny", "negative norm", "zero norm"]
)
def test_odd_channels_convert_exactly(rule: str, change: str) -> None:
    torch.manual_seed(0)
    model = net()
    w, norm = model[0].weight.data, model[1].weight.data
    changes: dict[str, Callable[[], object]] = {
        "dead": lambda: w[1].zero_(),
        "constant": lambda: w[1].fill_(0.2),
        "huge": lambda: w[1].mul_(1e4),
        "tiny": lambda: w[1].mul_(1e-9),
        "negative norm": lambda: norm[1].neg_(),
        "zero norm": lambda: norm[1].zero_(),
    }
    changes[change]()
    prepared = prepare(model, QuantSpec(weight_scale=rule), (X,))
    prepared(X).square().mean().backward()
    assert all(
        bool(torch.isfinite(p.grad).all()) for p in prepared.parameters() if p.grad is not None
    )
    assert equal(prepared, X)
    first = next(n for n in convert(prepared).graph.nodes if isinstance(n, Conv))
    if change in ("dead", "zero norm"):
        assert not first.sources[0].weights[1].any()
    if change == "constant":
        assert len(set(first.sources[0].weights[1].ravel())) == 1
        assert first.sources[0].weights[1].any()


def test_one_sample_calibrates() -> None:
    prepared = prepare(net(), QuantSpec(), (X[:1],))
    assert equal(prepared, X)


def test_an_accumulator_too_narrow_makes_coarser_weights_and_still_fits() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(900, 5)), torch.rand(4, 1, 30, 30)
    wide, narrow = (convert(prepare(model, QuantSpec(acc_bits=bits), (x,))) for bits in (24, 21))
    sizes = [abs(m.graph.nodes[1].sources[0].weights).max() for m in (wide, narrow)]
    assert sizes[0] > 2 * sizes[1] > 0
    assert float((narrow(x) - model(x)).norm().detach() / model(x).norm().detach()) < 0.3


def test_an_overflow_is_proven_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigbit.quant.layers.layer._HEADROOM", 0.0)
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(900, 5)), torch.rand(4, 1, 30, 30)
    with pytest.raises(
        QuantizationError, match=r"1 \(.*\): accumulator of channel \d can reach .* 18 bits"
    ):
        convert(prepare(model, QuantSpec(acc_bits=18), (x,)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_format": EsbFormat(4, 1, False)}, "weight_format must be signed"),
        ({"first_last_terms": 5}, r"first_last_terms must be in \[1, 4\], not 5"),
        ({"acc_bits": 40}, r"acc_bits must be in \[16, 32\], not 40"),
        ({"input_range": (1.0, 1.0)}, "input_range must be"),
        ({"weight_scale": "best"}, "scale rule must be one of"),
        ({"act_scale": "best"}, "scale rule must be one of"),
    ],
)
def test_specs_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(QuantizationError, match=message):
        QuantSpec(**changes)


@pytest.mark.parametrize("form", [EsbFormat(8, 0), EsbFormat(8, 1)])
def test_formats_wider_than_any_accumulator(form: EsbFormat) -> None:
    with pytest.raises(QuantizationError, match="more than any accumulator holds"):
        prepare(net(), QuantSpec(weight_format=form), (X,))


def test_formats_that_cannot_store_an_image() -> None:
    with pytest.raises(QuantizationError, match="8-bit tensors are not possible"):
        prepare(net(), QuantSpec(act_format=EsbFormat(2, 0), radix_bits=1), (X,))


class NormAfterFlatten(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.out = nn.BatchNorm1d(72), nn.Linear(72, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(x.flatten(1)))


def test_networks_without_layers_for_it() -> None:
    with pytest.raises(UnsupportedModel, match="normalizes each pixel of a flattened image"):
        prepare(NormAfterFlatten(), QuantSpec(), (X,))
    with pytest.raises(UnsupportedModel, match="is the network's input itself"):
        prepare(nn.Flatten(), QuantSpec(), (X,))


def test_prepare_leaves_the_model_alone() -> None:
    model = net().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    prepared = prepare(model, QuantSpec(), (X,))
    with torch.no_grad():
        for p in prepared.parameters():
            p.add_(1)
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_pooling_that_leaves_lines_is_not_padded() -> None:
    """Of signed tensors of several planes: a window that would not fit is left out."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.MaxPool2d(2), nn.Conv2d(4, 3, 1))
    x = torch.randn(4, 2, 7, 9)
    prepared = prepare(model, QuantSpec(act_planes=3), (x,))
    assert equal(prepared, x)
    with torch.no_grad():
        assert prepared(x).shape == model(x).shape
    padded = nn.Sequential(nn.Conv2d(2, 4, 1), nn.MaxPool2d(2, padding=1), nn.Conv2d(4, 3, 1))
    with pytest.raises(QuantizationError, match="a padded maximum of values of both signs"):
        prepare(padded, QuantSpec(act_planes=3), (x,))
