"""Host software for boards: how they are reached, and the device that runs Programs on them."""
