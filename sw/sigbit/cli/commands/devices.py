"""``sigbit devices``: devices that can run Programs."""

from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import say, show_table


def devices(json: Json = None) -> None:
    """List simulators, and serial ports at which boards may be. No port is opened."""
    from sigbit.flows.device_list import device_list

    found = device_list()
    show_table(
        "Devices",
        ["--device", "what it is"],
        [(each.device, each.missing or each.what) for each in found.devices],
    )
    if found.note:
        say(found.note)
    write_json(json, found)
