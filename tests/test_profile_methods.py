"""The profile of the one-step methods, in `tools/`."""

import sys
from pathlib import Path

import pytest

from keras_upsampling.bench import timing
from keras_upsampling.bench.cases import Case

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import profile_methods


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::_convolution", "products"),
        ("model/layer/conv_transpose:_MklNativeConv2DBackpropInput", "products"),
        ("model/layer/BiasAdd:_MklNativeFusedDepthwiseConv2dNative", "filters"),
        ("model/layer/matmul:_MklMatMul", "products"),
        ("ynn_fusion.2", "products"),
        ("aten::add", "sums"),
        ("model/conv/BiasAdd_2:AddV2", "sums"),
        ("aten::copy_", "moves"),
        ("convert.3", "moves"),
        ("wrapped_convert_fusion.1", "moves"),
        ("aten::_conv_depthwise2d", "filters"),
        ("bitcast_concatenate_fusion.1", "moves"),
        ("model/layer/concat_6:ConcatV2", "moves"),
        ("something", "others"),
    ],
)
def test_operations_are_recognized_by_their_names(name, kind):
    assert profile_methods.kind_of(name) == kind


def test_a_profile_has_the_shares_of_the_quickest_method(monkeypatch, capsys):
    monkeypatch.setattr(
        profile_methods, "CASES", (Case(1, (8,), 4, 3, 2, 3, "nearest", "float32"),)
    )
    monkeypatch.setattr(profile_methods, "_RUNS", 3)
    monkeypatch.setattr(timing, "SHORT", 1e-9)
    profile_methods.main([])
    rows = [
        line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if "1x8x4" in line
    ]
    assert [row[1].strip() for row in rows] == ["forward", "training step"]
    for row in rows:
        shares = [float(cell.strip().rstrip(" %")) for cell in row[5:]]
        assert 97 <= sum(shares) <= 103
        assert shares[1] > 0  # products


def test_a_profile_without_known_operations_has_no_shares(monkeypatch):
    events = {name: lambda _: {"something strange": 1.0} for name in profile_methods.EVENTS}
    monkeypatch.setattr(profile_methods, "EVENTS", events)
    monkeypatch.setattr(timing, "SHORT", 1e-9)
    case = Case(1, (8,), 4, 3, 2, 3, "nearest", "float32")
    assert profile_methods.row(case, "forward")[4:] == ["0.00", *[""] * len(profile_methods.KINDS)]
