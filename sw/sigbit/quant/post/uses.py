"""Parameters that a step may change: those that a single layer uses unmodified."""

from collections import Counter

from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.plan.plans import LayerPlan
from sigbit.quant.prepared import PreparedModel


class Uses:
    """Number of uses of the parameters of ``prepared``."""

    def __init__(self, prepared: PreparedModel) -> None:
        layers = [p for p in prepared.plan.layers if isinstance(p, LayerPlan)]
        self._biases = Counter(b.term for p in layers for b in p.biases)
        self._weights = Counter(s.weight for p in layers for s in p.sources)

    def bias_of(self, p: LayerPlan) -> str | None:
        """Bias parameter that only this layer adds, and adds unmodified."""
        for b in p.biases:
            whole = b.rows is None and b.scale == 1 and not b.norms
            if isinstance(b.term, str) and whole and self._biases[b.term] == 1:
                return b.term
        return None

    def weight_is_free(self, p: LayerPlan, module: QuantLayer) -> bool:
        """True if the weights of the first source are used by this layer alone, are plain weights
        of a convolution on the grids "esb" or "uniform", and are not the codes of a quantized
        model."""
        source, quantizer = p.sources[0], module.weight_quantizer
        plain = not (source.norms or source.transposed or source.rows) and source.scale == 1
        return (
            quantizer is not None
            and quantizer.folded
            and module.given is None
            and plain
            and source.upsampling == (1, 1)
            and self._weights[source.weight] == 1
        )
