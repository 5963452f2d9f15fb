"""Every network of the zoo, imported, computes what its module computes."""

import pytest
import torch

from sigbit import zoo
from sigbit.frontend import import_model
from zoo.small import SMALL


@pytest.mark.filterwarnings("ignore:The tensor attributes self.rnn._flat_weights")
@pytest.mark.parametrize("name", zoo.names())
def test_graph_equals_module(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    options, shape = SMALL.get(name, ({}, zoo.entry(name).input_shape))
    network = zoo.build(name, **options).double().eval()
    x = torch.randn(2, *shape, dtype=torch.float64)
    graph = import_model(network, x)
    (result,) = graph.results({graph.inputs[0].name: x})
    with torch.no_grad():
        wanted = network(x)
    torch.testing.assert_close(result, wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max()))
