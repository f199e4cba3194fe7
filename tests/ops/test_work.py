"""The counted work of the methods agrees with the operations that they run."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_upsampling.bench.cases import Case
from keras_upsampling.ops._upsample_conv.choice import METHODS, possible, seconds
from tests.backends import BACKEND
from tests.ops.one_step import by_method

# Operations for which XLA makes no separate pass.
FREE = ("broadcast_in_dim", "convert_element_type", "copy", "iota", "reshape", "rev", "squeeze")


def equations(jaxpr):
    for equation in jaxpr.eqns:
        inner = [v for v in equation.params.values() if hasattr(v, "eqns") or hasattr(v, "jaxpr")]
        if not inner:
            yield equation
        for nested in inner:
            yield from equations(getattr(nested, "jaxpr", nested))


def convolution(equation):
    """Return the kind of a convolution and its multiply-adds."""
    x, kernel = (variable.aval for variable in equation.invars)
    y = equation.outvars[0].aval
    axes = equation.params["dimension_numbers"]
    taps = math.prod(kernel.shape[axis] for axis in axes.rhs_spec[2:])
    if math.prod(equation.params["lhs_dilation"]) > 1:
        return "transposed", x.size * taps * y.shape[axes.out_spec[1]]
    channels = kernel.shape[axes.rhs_spec[1]]
    groups = equation.params["feature_group_count"]
    kind = "filtered" if groups == x.shape[axes.lhs_spec[1]] and channels == 1 else "convolution"
    return kind, y.size * taps * channels


def count_work(function, *tensors):
    """Return the work of a function by kind, counted in the operations that JAX traces."""
    import jax

    result = Counter()
    for equation in equations(jax.make_jaxpr(function)(*tensors).jaxpr):
        name, y = equation.primitive.name, equation.outvars[0].aval
        if name in FREE or not hasattr(y, "size"):
            continue
        copied = y.size
        if name == "conv_general_dilated":
            kind, number = convolution(equation)
            result[kind] += number
        elif name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            lengths = [equation.invars[0].aval.shape[axis] for axis in contracted]
            result["product"] += y.size * math.prod(lengths)
        else:
            sizes = [variable.aval.size for variable in (*equation.invars, *equation.outvars)]
            copied = sum(size for size in sizes if size > 1)
        result.update({"copied": copied, "operations": 1})
    return result


CASES = [
    Case(2, spatial, channels, 6, 2, kernel_size, interpolation, "float32", groups=groups)
    for spatial in ((40,), (20, 18), (10, 9, 8))
    for interpolation in ("nearest", "linear", "cubic")
    for kernel_size, channels, groups in ((2, 3, 1), (3, 4, 1), (3, 4, 2))
]


@pytest.mark.skipif(BACKEND != "jax", reason="counts the operations of a jaxpr")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_counted_work_matches_the_operations(case):
    rank = len(case.spatial)
    x = ops.ones(case.input_shape)
    kernel = ops.ones((case.kernel_size,) * rank + (case.channels // case.groups, case.filters))
    for method in possible(case.task, case.task_shape):

        def run(x, kernel, method=method):
            return by_method(method)(x, kernel, 2, interpolation=case.interpolation)

        done, work = count_work(run, x, kernel), METHODS[method].work(case.task, case.task_shape)
        for kind in ("convolution", "transposed"):
            assert work.get(kind, 0) == done[kind], (method, kind)
        # Other methods compose kernels or upsample by products, which count as other kinds.
        if method in ("one_product", "matrices"):
            assert work["product"] == done["product"], method
        # Approximate: padded and cropped samples may be counted or not.
        if done["filtered"]:
            assert 0.9 < work["filtered"] / done["filtered"] < 2, method
        exact = case.interpolation == "nearest" and method != "resize"
        if exact or method in ("one_product", "matrices"):
            bounds = (0.7, 1.3) if method == "one_product" else (0.4, 2)
            assert bounds[0] < work["copied"] / done["copied"] < bounds[1], method
            assert 0.4 < work["operations"] / done["operations"] < 2, method


@st.composite
def cases(draw):
    rank = draw(st.integers(1, 3))
    return Case(
        batch=draw(st.integers(1, 9)),
        spatial=tuple(draw(st.lists(st.integers(1, 40), min_size=rank, max_size=rank))),
        channels=draw(st.integers(1, 99)),
        filters=draw(st.integers(1, 99)),
        size=draw(st.integers(1, 4)),
        kernel_size=draw(st.integers(1, 5)),
        interpolation=draw(st.sampled_from(["nearest", "linear", "cubic", "lanczos3"])),
        dtype="float32",
    )


@given(
    case=cases(),
    field=st.sampled_from(["batch", "spatial", "channels", "filters"]),
    method=st.sampled_from(list(METHODS)),
)
def test_costs_grow_with_work(case, field, method):
    value = getattr(case, field)
    value = tuple(n + 1 for n in value) if field == "spatial" else value + 1
    larger = case._replace(**{field: value})
    if method not in possible(case.task, case.task_shape):
        return
    less, more = (METHODS[method].work(c.task, c.task_shape) for c in (case, larger))
    assert less.keys() == more.keys()
    assert all(less[kind] <= more[kind] for kind in less)
    assert seconds(less, dict.fromkeys(less, 1.0)) < seconds(more, dict.fromkeys(less, 1.0))


def test_multiply_adds_match_the_documentation():
    # Per input pixel, channel and filter: the formulas of the table in docs/one_step.md.
    for size, kernel_size in ((2, 3), (2, 5), (3, 3), (4, 3), (4, 5)):
        case = Case(1, (64, 64), 1, 1, size, kernel_size, "nearest", "float32")

        def count(method, kind, case=case):
            return METHODS[method].work(case.task, case.task_shape)[kind] / 64**2

        assert count("resize", "convolution") == (size * kernel_size) ** 2
        # All phases share one window, which is as long as the longest, so some taps are zeros.
        assert count("phases", "convolution") >= (kernel_size + size - 1) ** 2
        assert count("one_product", "product") == kernel_size**2
        if BACKEND != "tensorflow" or kernel_size >= size:
            assert count("transposed", "transposed") == kernel_size**2


def test_channels_and_filters_are_counted_separately():
    case = Case(2, (8, 8), 6, 9, 2, 3, "nearest", "float32", groups=3)
    work = METHODS["resize"].work(case.task, case.task_shape)
    assert work["convolution"] == 2 * 16 * 16 * 9 * 2 * 9
    # Per group: 2 channels and 3 filters.
    assert work["convolution"] == work["convolution / channels"] * 2
    assert work["convolution"] == work["convolution / filters"] * 3
    assert work["held"] == 2 * 16 * 16 * (6 + 9)
