"""Numbers with units, for people."""


def size(count: int) -> str:
    """Bytes for people."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:,.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):,.2f} MiB"


def count(number: int) -> str:
    """A number of things for people: from ten million on in millions."""
    return f"{number:,}" if number < 10_000_000 else f"{number / 1e6:,.1f} M"
