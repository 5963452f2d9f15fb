"""Dot products against integer arithmetic, an input every cycle: plain RTL, and the form made of
UltraScale+ cells with the vendor's cell models."""

import itertools

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from sigbit_hw.arch.formats import EsbFormat, LevelFormat
from sigbit_hw.gateware.compute.mac import DotProduct
from sigbit_hw.gateware.compute.xcup_dot import Inversion, Products, choose
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_hw.gateware.parts.product import Factor, ProductForm
from sigbit_sim.verification.cell_models import CellModel

S20, S30, S31 = EsbFormat(2, 0), EsbFormat(3, 0), EsbFormat(3, 1)
S40, S41, S42 = EsbFormat(4, 0), EsbFormat(4, 1), EsbFormat(4, 2)
S51, S53, S62, S84, S86 = (EsbFormat(*bits) for bits in ((5, 1), (5, 3), (6, 2), (8, 4), (8, 6)))
U21, U32, U43, U42, U62, U87 = (
    EsbFormat(*bits, signed=False) for bits in ((2, 1), (3, 2), (4, 3), (4, 2), (6, 2), (8, 7))
)
APOT4 = LevelFormat((0, 1, 2, 3, 4, 6, 8, 10))
APOT6 = LevelFormat(
    tuple(sorted({a + b for a in (0, 1, 4, 16, 64, 128, 256) for b in (0, 2, 8, 32, 512)}))[:32]
)
POWERS8 = LevelFormat(
    (
        0,
        *(1 << k for k in range(15)),
    ),
    signed=False,
)


def word(codes, bits):
    """Lane codes as one integer."""
    return int(sum(int(c) << (bits * i) for i, c in enumerate(codes)))


def corners(rng, fmt, lanes, cycles):
    """Codes ``[cycles, lanes]``: all the same, extremes and minus zero, sparse, and random."""
    codes = rng.integers(0, 1 << fmt.bits, (cycles, lanes))
    ends = [0, 1, (1 << fmt.bits) - 1, (1 << fmt.bits - 1) - 1, 1 << fmt.bits - 1]
    quarter = cycles // 4
    codes[:quarter] = rng.choice(ends, (quarter, 1))
    codes[quarter : 2 * quarter] = rng.choice(ends, (quarter, lanes))
    codes[2 * quarter : 3 * quarter] *= rng.random((quarter, lanes)) < 0.2
    return codes


def rtl_dot(dut, weights, acts):
    results = []

    async def bench(ctx):
        for k in range(len(weights) + dut.latency):
            if k < len(weights):
                ctx.set(dut.weights, word(weights[k], dut.weight_format.bits))
                ctx.set(dut.acts, word(acts[k], dut.act_format.bits))
            if k >= dut.latency:
                results.append(ctx.get(dut.dot) + ctx.get(dut.carry))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert len(results) == len(weights) > 0
    return results


FORMATS = st.tuples(st.integers(2, 8), st.booleans()).flatmap(
    lambda f: st.integers(max(0, f[0] - f[1] - 3), f[0] - f[1] - 1).map(
        lambda k: EsbFormat(f[0], k, f[1])
    )
)
LEVELS = st.tuples(st.integers(2, 5), st.booleans(), st.randoms(use_true_random=False)).map(
    lambda f: LevelFormat((0, *sorted(f[2].sample(range(1, 300), (1 << f[0]) - 1))), f[1])
)


@settings(max_examples=examples(25))
@given(
    weight=(FORMATS | LEVELS).filter(lambda fmt: fmt.signed),
    act=FORMATS | LEVELS,
    lanes=st.sampled_from([1, 2, 4, 8]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_formats(weight, act, lanes, seed):
    rng = np.random.default_rng(seed)
    dut = DotProduct(weight, act, lanes)
    weights, acts = (corners(rng, fmt, lanes, 24) for fmt in (weight, act))
    assert rtl_dot(dut, weights, acts) == dut.compute(weights, acts).tolist()


@pytest.mark.parametrize(
    ("weight", "act"),
    [(S20, U21), (S30, S31), (S41, S42), (S40, U43), (APOT4, S41), (S53, U43), (S51, APOT4)],
    ids=str,
)
def test_every_pair_of_codes(weight, act):
    dut = DotProduct(weight, act, 1)
    weights, acts = (
        codes.reshape(-1, 1)
        for codes in np.meshgrid(np.arange(1 << weight.bits), np.arange(1 << act.bits))
    )
    assert rtl_dot(dut, weights, acts) == dut.compute(weights, acts).tolist()


@pytest.mark.parametrize(
    ("weight", "act", "lanes"),
    [
        (S41, S42, 8),
        (S62, S51, 4),
        (S53, U62, 2),
        (S86, U87, 4),
        (S84, S42, 4),
        (APOT6, APOT6, 4),
        (APOT6, POWERS8, 2),
        (S86, POWERS8, 4),
    ],
    ids=str,
)
def test_lanes(weight, act, lanes, rng):
    """Products by table, by significands, by levels and by odd levels."""
    dut = DotProduct(weight, act, lanes)
    weights, acts = (corners(rng, fmt, lanes, 200) for fmt in (weight, act))
    assert rtl_dot(dut, weights, acts) == dut.compute(weights, acts).tolist()


def test_factors():
    """Every format is significands and shifts; the narrow form is found."""
    for fmt, bits, shift_bits in (
        (S42, 3, 0),
        (S41, 2, 2),
        (S40, 1, 3),
        (U43, 4, 0),
        (S84, 5, 3),
        (POWERS8, 1, 4),
        (APOT4, 4, 0),
        (LevelFormat((0, 1, 2, 3, 4, 6, 8, 12)), 2, 2),
        (LevelFormat((0, 1, 2, 4, 5, 8, 10, 12)), 4, 0),  # odd numbers of 3 bits instead of 4
    ):
        factor = Factor(fmt)
        assert (factor.bits, factor.shift_bits) == (bits, shift_bits)
        assert (
            tuple(s << n for s, n in zip(factor.significands, factor.shifts, strict=True))
            == fmt.magnitudes
        )


CELL_FORMS = {
    Inversion.RAW: [
        (S41, S42, 16),
        (S40, U43, 2),
        (S86, U87, 4),
        (S62, S53, 8),
        (S41, S41, 4),
        (S30, S31, 4),
    ],
    Inversion.DIRECT: [(S20, U21, 16), (S20, S20, 32), (S20, S31, 8)],
    Inversion.LATE: [(S31, S31, 16), (S30, S30, 8)],
}


class Dots(wiring.Component):
    """Dot products side by side."""

    def __init__(self, duts):
        self.duts = duts
        super().__init__(
            {
                f"{name}_{k}": member
                for k, dut in enumerate(duts)
                for name, member in dut.signature.members.items()
            }
        )

    def elaborate(self, platform):
        m = Module()
        for k, dut in enumerate(self.duts):
            m.submodules[f"dut_{k}"] = dut
            m.d.comb += [
                dut.weights.eq(getattr(self, f"weights_{k}")),
                dut.acts.eq(getattr(self, f"acts_{k}")),
                getattr(self, f"dot_{k}").eq(dut.dot),
                getattr(self, f"carry_{k}").eq(dut.carry),
            ]
        return m


def cell_dots(duts, weights, acts, folder, edit=None):
    """Sums ``[dut][cycle]`` of codes ``[dut][cycle, lane]``."""
    cycles, latency = len(weights[0]), max(dut.latency for dut in duts)
    inputs = {}
    for k, dut in enumerate(duts):
        for name, codes, fmt in (
            ("weights", weights[k], dut.weight_format),
            ("acts", acts[k], dut.act_format),
        ):
            inputs[f"{name}_{k}"] = [word(row, fmt.bits) for row in codes] + [0] * latency
    outputs = CellModel(Dots(duts), folder, edit).run(inputs)
    sums = []
    for k, dut in enumerate(duts):
        sign = 1 << (len(dut.dot) - 1)
        sums.append(
            [
                (dot ^ sign) - sign + carry
                for dot, carry in zip(outputs[f"dot_{k}"], outputs[f"carry_{k}"], strict=True)
            ][dut.latency : dut.latency + cycles]
        )
    return sums


@pytest.mark.synth
@pytest.mark.parametrize(
    "most", [1, pytest.param(None, marks=pytest.mark.long)], ids=["smallest", "all"]
)
def test_cells(most, tmp_path, rng):
    """All forms of products and trees, in one model: the smallest of a form, or all."""
    cases = [
        (form, case)
        for form, group in CELL_FORMS.items()
        for case in sorted(group, key=lambda case: case[2])[:most]
    ]
    duts = [DotProduct(*case) for _, case in cases]
    for dut, (form, _) in zip(duts, cases, strict=True):
        signs = 1 + dut.act_format.signed
        assert choose(dut.form, signs, dut.ic_lanes, dut.latency)[0].inversion is form
    weights = [corners(rng, dut.weight_format, dut.ic_lanes, 4000) for dut in duts]
    acts = [corners(rng, dut.act_format, dut.ic_lanes, 4000) for dut in duts]
    got = cell_dots(duts, weights, acts, tmp_path)
    for dut, w, a, sums in zip(duts, weights, acts, got, strict=True):
        assert sums == dut.compute(w, a).tolist(), dut.form


@pytest.mark.synth
def test_cells_with_one_wrong_bit(tmp_path, rng):
    """Control: one bit of one LUT's contents, for all inputs 0, is noticed."""

    def edit(text):
        name = text.index("cell \\LUT6_2 \\sum_")
        start = text.index("64'", name) + len("64'")
        place = start + 63 - 32
        return text[:place] + str(1 - int(text[place])) + text[place + 1 :]

    dut = DotProduct(S41, S42, 2)
    weights, acts = corners(rng, S41, 2, 400), corners(rng, S42, 2, 400)
    (sums,) = cell_dots([dut], [weights], [acts], tmp_path, edit)
    assert sums != dut.compute(weights, acts).tolist()


@pytest.mark.parametrize("form", CELL_FORMS)
def test_the_cheapest_form_is_chosen(form):
    """Products are ready with all sums after the latency of the plain form."""
    for weight, act, lanes in CELL_FORMS[form]:
        dut = DotProduct(weight, act, lanes)
        rtlil.convert(dut, platform=Fabric.XCUP, emit_src=False)
        products, tree = choose(dut.form, 1 + act.signed, lanes, dut.latency)
        assert products.inversion is form
        assert products.stages + len(tree.levels) <= dut.latency


@pytest.mark.parametrize(
    ("weight", "act", "signs", "inversion"),
    [
        (S31, S31, 2, Inversion.RAW),
        (S31, S31, 2, Inversion.DIRECT),
        (S31, U32, 1, Inversion.DIRECT),
        (S40, S31, 2, Inversion.LATE),
    ],
)
def test_tables_are_products(weight, act, signs, inversion):
    """For every weight and activation; of an odd number of negative signs the complement."""
    form = ProductForm(weight, act)
    products = Products(form, signs, inversion)
    count = products.inputs - sum(form.fields)
    assert count == {Inversion.RAW: 0, Inversion.DIRECT: signs, Inversion.LATE: 1}[inversion]
    tables = products.tables([Signal() for _ in range(products.inputs)])
    rows = [
        sum(t.rows[i] << bit for bit, t in enumerate(tables)) for i in range(len(tables[0].rows))
    ]
    assert rows == [
        (a * w) ^ ((1 << form.bits) - 1) * (sum(negative) % 2)
        for negative in itertools.product((0, 1), repeat=count)
        for a in act.magnitudes
        for w in weight.magnitudes
    ]


def test_possible_forms():
    """A table has six inputs. The form with the product's sign as one of them is for signs that
    have to be combined before."""
    for weight, act, signs, expected in (
        (S31, S31, 2, {Inversion.RAW, Inversion.DIRECT, Inversion.LATE}),
        (S31, U32, 1, {Inversion.RAW, Inversion.DIRECT}),
        (S41, S31, 2, {Inversion.RAW, Inversion.LATE}),
        (S41, S41, 2, {Inversion.RAW}),
    ):
        form = ProductForm(weight, act)
        assert {i for i in Inversion if Products(form, signs, i).possible} == expected


def test_cells_are_used():
    text = rtlil.convert(DotProduct(S41, S42, 16), platform=Fabric.XCUP, emit_src=False)
    assert text.count("cell \\LUT6_2 ") > 100
    assert "cell \\LUT6_2 " not in rtlil.convert(DotProduct(S41, S42, 16), emit_src=False)


def test_wide_products_are_not_tables():
    assert ProductForm(S41, S42).by_table
    assert not ProductForm(S86, U87).by_table
    assert ProductForm(S86, U87).latency == 3
