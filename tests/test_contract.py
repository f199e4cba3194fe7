import inspect
from functools import partial

import keras
import pytest

import keras_upsampling
from keras_upsampling import (
    CARAFE2D,
    BilinearAdditiveUpsampling2D,
    BlurPool1D,
    BlurPool2D,
    BlurPool3D,
    DySample2D,
    SubpixelConv1D,
    SubpixelConv2D,
    SubpixelConv3D,
    Upsample1D,
    Upsample2D,
    Upsample3D,
    UpsampleConv1D,
    UpsampleConv2D,
    UpsampleConv3D,
)
from tests.contract import CHECKS, Contract
from tests.strategies import INTERPOLATIONS

CONTRACTS = [
    Contract("blur_pool_1d", partial(BlurPool1D, 3), (2, 7, 3)),
    Contract("blur_pool_2d", partial(BlurPool2D, (2, 3), order=2), (2, 4, 5, 3)),
    Contract("blur_pool_3d", partial(BlurPool3D, 2), (2, 2, 3, 4, 2)),
    Contract("upsample_1d", partial(Upsample1D, 3, interpolation="linear"), (2, 5, 3)),
    *(
        Contract(
            f"upsample_2d_{name}", partial(Upsample2D, (2, 3), interpolation=name), (2, 4, 5, 3)
        )
        for name in INTERPOLATIONS
    ),
    Contract("upsample_3d", partial(Upsample3D, 2, interpolation="linear"), (2, 2, 3, 4, 2)),
    Contract("upsample_conv_1d", partial(UpsampleConv1D, 4, 3, padding="wrap"), (2, 6, 3)),
    Contract("upsample_conv_2d", partial(UpsampleConv2D, 4, 3), (2, 4, 5, 3)),
    Contract(
        "upsample_conv_2d_all_options",
        partial(
            UpsampleConv2D,
            filters=4,
            kernel_size=(2, 3),
            size=(3, 2),
            interpolation="cubic",
            padding="symmetric",
            dilation_rate=(1, 2),
            groups=2,
            activation="tanh",
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(1e-4),
            kernel_constraint="max_norm",
        ),
        (2, 4, 5, 6),
    ),
    Contract(
        "upsample_conv_3d",
        partial(UpsampleConv3D, 4, 2, (1, 2, 2), interpolation="linear", padding="edge"),
        (2, 2, 3, 4, 2),
    ),
    Contract("subpixel_conv_1d", partial(SubpixelConv1D, 4, 3, 3, padding="wrap"), (2, 6, 3)),
    Contract("subpixel_conv_2d", partial(SubpixelConv2D, 4, 3, (2, 3)), (2, 4, 5, 3)),
    Contract(
        "subpixel_conv_3d",
        partial(SubpixelConv3D, 4, 2, (1, 2, 2), padding="edge"),
        (2, 2, 3, 4, 2),
    ),
    Contract("bilinear_additive_2d", partial(BilinearAdditiveUpsampling2D, (2, 3)), (2, 4, 5, 12)),
    Contract("carafe_2d", partial(CARAFE2D, (2, 3), (3, 5), 3, 8, groups=2), (2, 4, 5, 6)),
    Contract("dysample_2d", partial(DySample2D, (3, 2)), (2, 4, 5, 8)),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_contract(contract, check, request):
    arguments = {"contract": contract}
    if "tmp_path" in inspect.signature(check).parameters:
        arguments["tmp_path"] = request.getfixturevalue("tmp_path")
    check(**arguments)


def test_every_public_layer_has_a_contract():
    members = {getattr(keras_upsampling, name) for name in keras_upsampling.__all__}
    layers = {
        member for member in members if isinstance(member, type) and issubclass(member, keras.Layer)
    }
    assert layers == {type(contract.make()) for contract in CONTRACTS}
