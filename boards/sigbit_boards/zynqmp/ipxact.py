"""The packaged IP: ``component.xml`` according to IEEE 1685-2009, with Vivado's extensions."""

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from sigbit_boards.zynqmp.wrapper import (
    REGISTERS,
    TOP,
    Port,
    interface_type,
    masters,
    parameters,
    ports,
)
from sigbit_hw.arch import bus, regs
from sigbit_hw.arch.config import ArchConfig

SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
XILINX = "http://www.xilinx.com"
VLNV = ("sigbit", "ip", TOP, "1.0")
"""Vendor, library, name and version."""
FAMILY = "zynquplus"

Element = ElementTree.Element


def component(config: ArchConfig, sources: Sequence[str]) -> str:
    """Description of the IP; ``sources`` are its Verilog files, relative to it."""
    ElementTree.register_namespace("spirit", SPIRIT)
    ElementTree.register_namespace("xilinx", XILINX)
    root = ElementTree.Element(_spirit("component"))
    for tag, value in zip(("vendor", "library", "name", "version"), VLNV, strict=True):
        _add(root, tag, value)
    interfaces = _add(root, "busInterfaces")
    for name in dict.fromkeys(port.interface for port in ports(config)):
        _interface(interfaces, name, config)
    spaces = _add(root, "addressSpaces")
    for name in masters(config):
        space = _add(spaces, "addressSpace")
        _add(space, "name", name)
        _add(space, "range", str(1 << bus.ADDRESS_BITS))
        _add(space, "width", str(8 * config.port_bytes))
    maps = _add(_add(root, "memoryMaps"), "memoryMap")
    _add(maps, "name", REGISTERS)
    block = _add(maps, "addressBlock")
    values = {"name": "reg0", "baseAddress": "0", "range": str(bus.PAGE_BYTES), "width": "32"}
    for tag, value in (values | {"usage": "register"}).items():
        _add(block, tag, value)
    _model(_add(root, "model"), config)
    _files(_add(root, "fileSets"), sources)
    _add(root, "description", f"sigbit {config.name}, ArchConfig {config.digest}")
    _parameters(root, {"Component_Name": TOP})
    _extensions(root, config)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _spirit(tag: str) -> str:
    return f"{{{SPIRIT}}}{tag}"


def _add(parent: Element, tag: str, text: str | None = None, **attributes: str) -> Element:
    child = ElementTree.SubElement(
        parent, _spirit(tag), {_spirit(k): v for k, v in attributes.items()}
    )
    child.text = text
    return child


def _vlnv(parent: Element, tag: str, vlnv: str) -> None:
    names = ("vendor", "library", "name", "version")
    _add(parent, tag, None, **dict(zip(names, vlnv.split(":"), strict=True)))


def _interface(parent: Element, name: str, config: ArchConfig) -> None:
    kind = interface_type(name)
    interface = _add(parent, "busInterface")
    _add(interface, "name", name)
    _vlnv(interface, "busType", kind)
    vendor, library, bus_name, version = kind.split(":")
    _vlnv(interface, "abstractionType", f"{vendor}:{library}:{bus_name}_rtl:{version}")
    if name in masters(config):
        _add(_add(interface, "master"), "addressSpaceRef", None, addressSpaceRef=name)
    elif name == REGISTERS:
        _add(_add(interface, "slave"), "memoryMapRef", None, memoryMapRef=REGISTERS)
    else:
        _add(interface, "master" if name == "irq" else "slave")
    mapped = _add(interface, "portMaps")
    for port in ports(config):
        if port.interface == name:
            entry = _add(mapped, "portMap")
            _add(_add(entry, "logicalPort"), "name", port.signal)
            _add(_add(entry, "physicalPort"), "name", port.name)
    if extra := parameters(config).get(name):
        _parameters(interface, extra)


def _parameters(parent: Element, values: Mapping[str, str]) -> None:
    group = _add(parent, "parameters")
    for name, value in values.items():
        entry = _add(group, "parameter")
        _add(entry, "name", name)
        _add(entry, "value", value)


_VIEWS = {
    "xilinx_anylanguagesynthesis": ("Synthesis", ":vivado.xilinx.com:synthesis"),
    "xilinx_anylanguagebehavioralsimulation": ("Simulation", ":vivado.xilinx.com:simulation"),
}


def _model(model: Element, config: ArchConfig) -> None:
    views = _add(model, "views")
    for name, (shown, environment) in _VIEWS.items():
        view = _add(views, "view")
        _add(view, "name", name)
        _add(view, "displayName", shown)
        _add(view, "envIdentifier", environment)
        _add(view, "language", "Verilog")
        _add(view, "modelName", TOP)
        _add(_add(view, "fileSetRef"), "localName", f"{name}_view_fileset")
    listed = _add(model, "ports")
    for port in ports(config):
        _wire(_add(listed, "port"), port)


def _wire(entry: Element, port: Port) -> None:
    _add(entry, "name", port.name)
    wire = _add(entry, "wire")
    _add(wire, "direction", "out" if port.output else "in")
    if port.width > 1:
        vector = _add(wire, "vector")
        _add(vector, "left", str(port.width - 1))
        _add(vector, "right", "0")


def _files(sets: Element, sources: Sequence[str]) -> None:
    for view in _VIEWS:
        group = _add(sets, "fileSet")
        _add(group, "name", f"{view}_view_fileset")
        for source in sources:
            file = _add(group, "file")
            _add(file, "name", source)
            _add(file, "fileType", "verilogSource")


def _extensions(root: Element, config: ArchConfig) -> None:
    core = ElementTree.SubElement(_add(root, "vendorExtensions"), f"{{{XILINX}}}coreExtensions")
    families = ElementTree.SubElement(core, f"{{{XILINX}}}supportedFamilies")
    family = ElementTree.SubElement(
        families, f"{{{XILINX}}}family", {f"{{{XILINX}}}lifeCycle": "Production"}
    )
    family.text = FAMILY
    taxonomies = ElementTree.SubElement(core, f"{{{XILINX}}}taxonomies")
    ElementTree.SubElement(taxonomies, f"{{{XILINX}}}taxonomy").text = "/UserIP"
    ElementTree.SubElement(core, f"{{{XILINX}}}displayName").text = f"sigbit {config.name}"
    ElementTree.SubElement(core, f"{{{XILINX}}}coreRevision").text = str(regs.VERSION)
