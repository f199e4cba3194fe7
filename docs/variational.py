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
# # A variational autoencoder
#
# An autoencoder's codes lie where they happen to lie: a code picked at random decodes to nothing.
# A variational autoencoder is also asked to keep its codes near the normal distribution, and then
# a random code is a new picture.
#
# Every figure and every number here was made by the code above it when the page was built.

# %%
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np

from keras_upsampling import variational_autoencoder

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

mnist = digits.load("sample")
print(mnist.description)

# %% [markdown]
# ## Fit it
#
# The loss has two parts, and both are shown: `reconstruction`, the binary cross-entropy for each
# pixel, and `kl`, how far the codes are from the normal distribution, in nats for each image. The
# second is weighted by `beta`.

# %%
model = variational_autoencoder(
    (28, 28, 1),
    filters=(8, 16),
    bottleneck=2,
    normalization="batch",
    seed=0,
)
model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy")
history = model.fit(
    mnist.train, mnist.train, batch_size=50, epochs=6, verbose=0
).history
for epoch in (0, 2, 5):
    values = {name: numbers[epoch] for name, numbers in history.items()}
    print({name: round(value, 3) for name, value in values.items()})

# %% [markdown]
# ## New digits
#
# `sample` draws codes and decodes them.

# %%
samples = np.asarray(keras.ops.convert_to_numpy(model.sample(24, seed=1)))
figure, axes = plt.subplots(3, 8, figsize=(8, 3.2))
for axis, image in zip(axes.flat, samples, strict=True):
    axis.imshow(image, cmap="gray", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## The map of all digits
#
# With a code of two numbers, the decoder can be walked through on a grid: from a tenth of the
# normal distribution to nine tenths, along both axes. Similar digits lie side by side.

# %%
from statistics import NormalDist

steps = [NormalDist().inv_cdf(p) for p in np.linspace(0.1, 0.9, 12)]
codes = np.array([(a, b) for b in steps for a in steps], "float32")
grid = model.decoder.predict(codes, verbose=0).reshape(12, 12, 28, 28)
plt.figure(figsize=(6, 6))
plt.imshow(np.block([list(row) for row in grid]), cmap="gray", vmin=0, vmax=1)
plt.axis("off")
plt.show()

# %% [markdown]
# ## More weight or less
#
# More weight on the divergence makes codes plainer and pictures vaguer; less makes a better
# autoencoder, and random codes decode worse. With `beta=1` and binary cross-entropy the loss is
# minus the bound that the method is derived from, divided by the number of pixels. `evaluate`
# decodes means, not draws, so its loss is a little lower.

# %%
some = mnist.train[:2000]
for beta in (0.1, 1.0, 10.0):
    keras.utils.set_random_seed(0)
    model = variational_autoencoder(
        (28, 28, 1), filters=(8, 16), bottleneck=2, beta=beta, seed=0
    )
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy")
    model.fit(some, some, batch_size=25, epochs=2, verbose=0)
    found = model.evaluate(mnist.test, mnist.test, verbose=0, return_dict=True)
    print(
        f"beta {beta:4}: reconstruction {found['reconstruction']:.3f}, "
        f"kl {found['kl']:.2f} nats"
    )

# %% [markdown]
# `evaluate` and `predict` decode the code's mean; noise is added while training only.
#
# ## What it is fed
#
# Images from 0 to 1, as the sigmoid at its end gives them. Pictures from 0 to 255 are divided by
# 255 first, or by a `keras.layers.Rescaling(1 / 255)` in the data's pipeline. Larger numbers give
# larger variances; past $2^{15}$, the largest power of two in half precision, a variance grows
# along the tangent of the exponential. So they stay finite in every dtype, and the gradient still
# brings them back, but training begins far from where it should.
#
# ## Over several devices
#
# Under `tf.distribute.MirroredStrategy` and `keras.distribution.DataParallel` the loss and both
# parts are those of one device, if the batches divide evenly over the devices. If they do not, the
# numbers are wrong on TensorFlow, and JAX refuses the batch: for every Keras model, so choose the
# size of the batches, and drop what is left over, for example with
# `dataset.batch(size, drop_remainder=True)`. The noise of each device is its own, so weights after
# training are close to those of one device, not equal. Batch normalization takes the statistics of
# each device's part on TensorFlow.
#
# Sample weights for images have the shape `(batch, 1, 1)`, because Keras's losses give a number for
# each pixel. They weigh the reconstruction only.
#
# - [Several devices](several_devices.html): programs for each backend.
# - [`variational_autoencoder`](api/variational_autoencoder.html): all arguments.
# - [An autoencoder for images of any size](any_size.html).
