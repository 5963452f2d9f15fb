"""The sweep of torch's convolutions for crashes and wrong results."""
