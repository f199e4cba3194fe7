"""Published architectures in sizes that a small machine can train, and where they differ."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras

from keras_upsampling.bench import published
from keras_upsampling.bench.blocks import Block


class Architecture(NamedTuple):
    """A published architecture, in sizes that a small machine can train.

    Attributes:
        build: Returns the model, given a block, `width` and `length`.
        width: Unit of the numbers of channels.
        length: Length of the first map.
        batch: Number of items of a batch.
        source: The publication, and Keras's example if its sizes are taken from there.
        differs: What differs from that, but for the block; in parentheses what it is there.
    """

    build: Callable[[Block, int, int], keras.Model]
    width: int
    length: int
    batch: int
    source: str
    differs: str = ""


def _melgan_block(i: int, length: int) -> Architecture:
    return Architecture(
        functools.partial(published.melgan_block, i=i),
        width=256 // 2**i,
        length=length,
        batch=8,
        source=f"block {i + 1} of melgan",
        differs="as melgan; a slope that is learnt",
    )


ARCHITECTURES: dict[str, Architecture] = {
    "dcgan": Architecture(
        published.dcgan,
        width=128,
        length=4,
        batch=4,
        source="arXiv 1511.06434",
        differs="batch (128)",
    ),
    "conditional_gan": Architecture(
        published.conditional_gan,
        width=128,
        length=7,
        batch=16,
        source="arXiv 1411.1784; Keras's example conditional_gan",
        differs="batch (64)",
    ),
    "wgan_gp": Architecture(
        published.wgan_gp,
        width=64,
        length=4,
        batch=128,
        source="arXiv 1704.00028; Keras's example wgan_gp",
        differs="batch (512)",
    ),
    "vae_decoder": Architecture(
        published.vae_decoder,
        width=32,
        length=7,
        batch=128,
        source="arXiv 1312.6114; Keras's example vae",
    ),
    "decoder": Architecture(
        published.decoder,
        width=16,
        length=32,
        batch=1,
        source="no publication: blocks to 64, 128, 256 and 512 pixels",
    ),
    "diffusion_decoder": Architecture(
        published.diffusion_decoder,
        width=64,
        length=8,
        batch=1,
        source="arXiv 2112.10752, Stable Diffusion's",
        differs="half the channels; maps from 8x8 (64x64)",
    ),
    "edsr": Architecture(
        published.edsr,
        width=64,
        length=24,
        batch=4,
        source="arXiv 1707.02921; Keras's example edsr",
        differs="batch (16)",
    ),
    "deeplab_head": Architecture(
        published.deeplab_head,
        width=256,
        length=16,
        batch=1,
        source="arXiv 1802.02611; Keras's example deeplabv3_plus",
        differs="maps from 16x16 (32x32); batch (4)",
    ),
    "unet": Architecture(
        published.unet,
        width=64,
        length=96,
        batch=1,
        source="arXiv 1505.04597",
        differs="images of 96x96 (572x572), padded with zeros (not padded); no dropout",
    ),
    "unet_3d": Architecture(
        published.unet_3d,
        width=16,
        length=16,
        batch=1,
        source="arXiv 1606.06650",
        differs="half the channels; volumes of 16x16x16 (132x132x116), padded with zeros (not "
        "padded)",
    ),
    "melgan": Architecture(
        published.melgan,
        width=32,
        length=32,
        batch=2,
        source="arXiv 1910.06711",
        differs="kernels of 7, 7, 5 and 3 taps (16, 16, 4 and 4, for transposed convolutions); "
        "padded with zeros (reflected); no weight normalization; batch (16)",
    ),
    **{
        f"melgan_block_{i + 1}": _melgan_block(i, length)
        for i, length in enumerate((32, 256, 2048, 4096))
    },
}
