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
# # An autoencoder for images of any size
#
# Autoencoders that are put together by hand tend to fail on sizes that are not powers of two: 28
# is pooled to 14, 7 and 4, and comes back as 32. `autoencoder` gives back the size it was given,
# for any height and width, and also when every batch has another.
#
# Every figure and every number here was made by the code above it when the page was built.

# %%
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np

from keras_upsampling import autoencoder

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
# ## How sizes come back
#
# Every block of the encoder halves the map and rounds up. Every block of the decoder doubles it.
# What is too much is cut off at the end.

# %%
for size in ((28, 28), (37, 53), (1, 1), (13, 101)):
    model = autoencoder((*size, 3), filters=(4, 4, 4))
    code = model.encoder.output_shape[1:3]
    whole = model.decoder.get_layer("output_conv").output.shape[1:3]
    print(f"{size} -> code {code} -> {whole} -> {model.output_shape[1:3]}")

# %% [markdown]
# The decoder pads its maps by their own edges. Zeros, as most layers pad, pull the border
# towards a grey of their own, which the network has to learn away. Below, both decoders answer a
# code that is the same everywhere.

# %%


def zeros_outside(filters, size, name):
    return keras.Sequential(
        [
            keras.layers.UpSampling2D(size),
            keras.layers.Conv2D(filters, 3, padding="same"),
        ],
        name=name,
    )


code = np.ones((1, 5, 5, 8), "float32")
figure, axes = plt.subplots(1, 2, figsize=(6, 3.2))
for axis, (name, upsampling) in zip(
    axes,
    {"zeros outside": zeros_outside, "edges repeated": "upsample_conv"}.items(),
    strict=True,
):
    keras.utils.set_random_seed(2)
    model = autoencoder((20, 20, 1), filters=(8, 8), upsampling=upsampling)
    image = model.decoder.predict(code, verbose=0)[0]
    drawn = axis.imshow(image, cmap="cividis", vmin=0.3, vmax=0.7)
    axis.set(title=name, xticks=[], yticks=[])
    figure.colorbar(drawn, ax=axis, shrink=0.8)
plt.show()

# %% [markdown]
# ## One model, many sizes
#
# With `None` for height and width, each batch may bring its own. This one learns to take noise
# away: denoising is nothing but fitting noisy inputs to clean targets. It sees cuttings of
# digits, of three sizes.

# %%
rng = np.random.default_rng(0)


def noisy(images):
    noise = rng.normal(0, 0.3, images.shape)
    return np.clip(images + noise, 0, 1).astype("float32")


model = autoencoder((None, None, 1), filters=(16, 16), normalization="batch")
model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy")
for height, width in ((28, 28), (27, 21), (17, 23)):
    top, left = rng.integers(0, 29 - height), rng.integers(0, 29 - width)
    clean = mnist.train[:, top : top + height, left : left + width]
    history = model.fit(noisy(clean), clean, batch_size=50, verbose=0)
    print(f"{height}×{width}: loss {history.history['loss'][0]:.3f}")

# %% [markdown]
# And now it meets a size it has never seen: a strip of digits, 37 pixels high and 101 wide.

# %%
strip = np.zeros((1, 37, 101, 1), "float32")
for number, digit in enumerate(mnist.test[:4]):
    strip[0, 2 * number : 2 * number + 28, 24 * number : 24 * number + 28] = (
        digit
    )
dirty = noisy(strip)
cleaned = model.predict(dirty, verbose=0)
assert cleaned.shape == strip.shape

figure, axes = plt.subplots(3, 1, figsize=(6, 6.6))
for axis, (name, image) in zip(
    axes,
    {"clean": strip, "noisy": dirty, "cleaned": cleaned}.items(),
    strict=True,
):
    error = np.mean((image - strip) ** 2)
    axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
    axis.set(
        title=f"{name}: mean square error {error:.4f}", xticks=[], yticks=[]
    )
plt.show()

# %% [markdown]
# Such a model exports with its sizes open, too: from TensorFlow as a SavedModel, from JAX with
# symbolic shapes, from PyTorch to ONNX. A program of `torch.export` keeps to sizes like the first.

# %% [markdown]
# ## A code of numbers
#
# With `bottleneck=16` the code is no map but 16 numbers. A dense layer makes them, so the size has
# to be known; it may be any.

# %%
model = autoencoder((37, 53, 3), filters=(8, 16), bottleneck=16)
images = np.zeros((2, 37, 53, 3), "float32")
print(model.encode(images).shape, model.decode(model.encode(images)).shape)

# %% [markdown]
# ## Inside another model
#
# An autoencoder is a layer as well: it can be called several times, inside models of any kind, and
# what holds it is saved, loaded, copied and repaired like any Keras model.

# %%
inner = autoencoder((None, None, 1), filters=(4, 8), name="inner")
inputs = keras.Input((19, 23, 1))
outputs = inner(keras.layers.Conv2D(1, 3, padding="same")(inner(inputs)))
outer = keras.Model(inputs, outputs)
again = keras.models.model_from_json(outer.to_json())
again.set_weights(outer.get_weights())
noise = rng.random((1, 19, 23, 1)).astype("float32")
found, expected = (model.predict(noise, verbose=0) for model in (again, outer))
print("largest difference:", np.abs(found - expected).max())

# %% [markdown]
# One thing Keras does not load, whatever the layer: a graph that calls a layer itself and holds a
# model whose graph calls the same layer. Build such a model in code, and load its weights.
#
# Two models of your own make an `Autoencoder` too. A decoder whose maps are smaller than the
# inputs is refused when it is made, if the sizes are known then.

# %%
from keras_upsampling.models import Autoencoder

encoder = keras.Sequential(
    [keras.Input((8, 8, 1)), keras.layers.AveragePooling2D(4)]
)
decoder = keras.Sequential(
    [keras.Input((2, 2, 1)), keras.layers.UpSampling2D(2)]
)
try:
    Autoencoder(encoder, decoder)
except ValueError as error:
    print(error)

# %% [markdown]
# ## Where to go next
#
# - [`autoencoder`](api/autoencoder.html): all arguments. Signals and volumes work alike.
# - [Choosing an upsampling block](blocks.html).
# - [A variational autoencoder](variational.html): codes that can be drawn.
