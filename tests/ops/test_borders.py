import pytest

from keras_upsampling.ops._upsample_conv.borders import borders, input_padding
from keras_upsampling.ops._upsample_conv.task import Task


@pytest.mark.parametrize(
    ("padding", "copies_edge"), [("valid", True), ("edge", True), ("same", False)]
)
def test_linear_either_copies_its_edge_or_computes_borders_separately(padding, copies_edge):
    widths = {"valid": (0, 0), "edge": (1, 1), "same": (1, 1)}[padding]
    task = Task((2,), "linear", padding, (widths,), (3,), (1,), 1, "channels_last")
    (border,) = borders(task)
    assert border.outputs == (0 if copies_edge else 2)
    assert input_padding(task) == ("edge" if copies_edge else "zeros")
