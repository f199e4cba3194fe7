# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Choosing an upsampling block
#
# There are many ways to make a feature map larger inside a network. Here each of them stands in
# the same decoder, and one word changes it. What each does to constants, to edges and to the
# number of parameters can be seen before any training; what it does for the loss is measured at
# the end.
#
# Every figure and every number here was made by the code above it when the page was built.

# %%
import logging
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

from keras_upsampling import (
    CARAFE2D,
    BilinearAdditiveUpsampling2D,
    DySample2D,
    SubpixelConv2D,
    Upsample2D,
    UpsampleConv2D,
    autoencoder,
)

plt.style.use("tableau-colorblind10")
plt.rcParams.update({"figure.dpi": 110, "figure.constrained_layout.use": True})
keras.utils.set_random_seed(0)

root = next(
    p
    for p in (Path.cwd(), *Path.cwd().parents)
    if (p / "examples/digits.py").exists()
)
sys.path.insert(0, str(root / "examples"))
import digits

# TensorFlow would warn that every model is another function to trace.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

mnist = digits.load("sample")
print(mnist.description)

# %% [markdown]
# ## What each of them is
#
# | block | how it makes new pixels | weights, from C channels to F |
# | --- | --- | --- |
# | `UpsampleConv2D` | copies or interpolates, then convolves, in one step | k²·C·F |
# | `SubpixelConv2D` | convolves to four times the channels, lays them side by side | 4·k²·C·F |
# | `Conv2DTranspose` | lays a stamp beside a stamp | k²·C·F |
# | `BilinearAdditiveUpsampling2D` | interpolates, adds every four channels | none, F = C/4 |
# | `CARAFE2D` | mixes neighbours as a small network says for each place | the network's, F = C |
# | `DySample2D` | looks where a small network points to | the network's, F = C |
# | `Upsample2D` | interpolates | none, F = C |
#
# ## Before any training
#
# A soft edge of one channel, enlarged twofold by each block as it starts. Blocks with weights of
# their own mix channels by chance, so each is shown for three starts.

# %%
slope = np.linspace(-3, 3, 9)
edge = 1 / (1 + np.exp(-(slope[:, None] + slope)))
features = np.repeat(edge[None, :, :, None], 8, axis=-1).astype("float32")

BLOCKS = {
    "Upsample2D, linear": lambda: Upsample2D(2, interpolation="linear"),
    "UpsampleConv2D": lambda: UpsampleConv2D(1, 3, padding="edge"),
    "SubpixelConv2D": lambda: SubpixelConv2D(1, 3, padding="edge"),
    "Bilinear additive": lambda: BilinearAdditiveUpsampling2D(2),
    "CARAFE2D": lambda: CARAFE2D(2),
    "DySample2D": lambda: DySample2D(2),
    "Conv2DTranspose": lambda: keras.layers.Conv2DTranspose(
        1, 3, strides=2, padding="same"
    ),
}

figure, axes = plt.subplots(3, len(BLOCKS), figsize=(12, 5.4))
for column, (name, make) in zip(axes.T, BLOCKS.items(), strict=True):
    column[0].set_title(name, fontsize="small")
    for axis in column:
        image = ops.convert_to_numpy(make()(features))[0, ..., 0]
        axis.imshow(image, cmap="cividis")
        axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# Only the transposed convolution shows the grid of its stamps. `SubpixelConv2D` could: its four
# phases have kernels of their own. They *start* equal here, because its initializer is `ICNR`,
# and come apart in training.
#
# ## One word in a decoder
#
# `autoencoder` takes the name of the block, or a function that makes one. Here are all names, and a
# function that has `UpsampleConv2D` interpolate linearly. Each decoder then gets a code that is the
# same everywhere: what is not the same everywhere in its answer, away from the border, is a
# pattern.

# %%
from compare_decoders import BLOCKS

constant = np.ones((1, 16, 16, 8), "float32")
models = {}
print(f"{'':22}parameters  pattern in a constant")
for name, block in BLOCKS.items():
    keras.utils.set_random_seed(0)
    models[name] = autoencoder(
        (28, 28, 1), filters=(8, 16, 8), upsampling=block
    )
    anywhere = autoencoder(
        (None, None, 1), filters=(8, 16, 8), upsampling=block
    )
    anywhere.set_weights(models[name].get_weights())
    answer = ops.convert_to_numpy(anywhere.decode(constant))[0, 32:-32, 32:-32]
    pattern = answer.std() / answer.mean()
    print(f"{name:22}{models[name].count_params():10,}{pattern:12.2%}")

# %% [markdown]
# ## After training
#
# A single epoch over some digits, for a first impression.

# %%
some = mnist.train[:2000]
shown = mnist.test[:8]
pictures = {"test digits": shown}
for name, model in models.items():
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy")
    model.fit(some, some, batch_size=25, verbose=0)
    loss = model.evaluate(mnist.test, mnist.test, batch_size=250, verbose=0)
    pictures[f"{name}\nloss {loss:.3f}"] = model.predict(shown, verbose=0)
digits.draw_rows(pictures, "The same digits through every decoder")

# %% [markdown]
# One epoch and one seed say little, and the decoders above have unequal numbers of parameters.
# [Comparing decoders](decoders.html) has the table for equal numbers and several seeds.
#
# ## Which one
#
# - Start with `"upsample_conv"`: no pattern of a constant, before training and after. What it
#   costs stands in the [benchmark](benchmarks.html).
# - `"subpixel_conv"` has the most weights for its arithmetic, all of it on the small map. Watch
#   its pattern while it trains (`metrics.Checkerboard`), or hold it down by
#   `constraints.CheckerboardFree(2, subpixel=True)`.
# - `"carafe"` and `"dysample"` look at the map before they enlarge it. Their papers show them in
#   networks for segmentation and detection, which know from afar where an edge will be.
# - `"bilinear_additive"` costs no weights and can stand beside another block as a shortcut.
# - `"transposed"` is there to compare with. On MNIST its loss is as low as that of the first; what
#   it does to constants hardly shows on black, and [Checkerboards](checkerboards.html) shows where
#   it does.
#
# [`audit`](api/audit.html) says of any model which of its layers makes a pattern.
