"""Numbers with units, for display."""


def size(count: int) -> str:
    """Format a number of bytes for display."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:,.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):,.2f} MiB"


def count(number: int) -> str:
    """Format a count for display; in millions from ten million on."""
    return f"{number:,}" if number < 10_000_000 else f"{number / 1e6:,.1f} M"
