"""Host software for boards: transports, and the device that runs Programs on them."""
