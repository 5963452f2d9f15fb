"""The package's exception."""


class QuantizationError(Exception):
    """A model, its calibration or its parameters cannot be quantized; the message is for the
    user.
    """
