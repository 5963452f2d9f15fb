"""sigbit: train low-bit networks in PyTorch and compile them for the sigbit accelerator."""
