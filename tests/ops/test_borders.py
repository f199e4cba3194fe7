import pytest

from keras_upsampling.ops._upsample_conv.borders import around_input, borders
from keras_upsampling.ops._upsample_conv.task import Task


@pytest.mark.parametrize(("padding", "copies"), [("valid", True), ("edge", True), ("same", False)])
def test_linear_copies_its_edge_or_has_its_borders_made_apart_but_not_both(padding, copies):
    widths = {"valid": (0, 0), "edge": (1, 1), "same": (1, 1)}[padding]
    task = Task((2,), "linear", padding, (widths,), (3,), (1,), 1, "channels_last")
    (border,) = borders(task)
    assert border.outputs == (0 if copies else 2)
    assert around_input(task) == ("edge" if copies else "zeros")
