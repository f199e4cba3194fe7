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
# # Tutorial: enlarging inside a network
#
# A decoder turns a small map of features into a large image. Somewhere in it, one pixel has to
# become four. This page shows what happens at that step: what upsampling computes, how it works
# in an autoencoder, and how it differs from a transposed convolution.
#
# Every figure and every number here was made by the code above it when the page was built.

# %%
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers

from keras_upsampling import Upsample1D, Upsample2D, UpsampleConv2D

plt.style.use("tableau-colorblind10")
plt.rcParams.update({"figure.dpi": 110, "figure.constrained_layout.use": True})
keras.utils.set_random_seed(0)


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


# %% [markdown]
# ## What upsampling is
#
# ### One axis
#
# Think of a signal as a row of pixels, each as wide as one unit, with its value at its centre:
# pixel 0 at position 0, pixel 1 at position 1, and so on. Enlarging it by a factor of 4 cuts
# every pixel into 4 pieces. The new values stand at the centres of the pieces, so the new
# pixel `o` lies at `(o + 0.5) / 4 - 0.5` on the old axis. These are called *half-pixel
# centres*: the signal keeps its place and its extent, and nothing shifts.
#
# What stands at the new centres is the choice of the *interpolation*. Here is a step with a
# bump behind it, enlarged in each way that the library knows.

# %%
signal = np.array([0, 0, 0, 1, 1, 1, 0.4, 0.8, 0.8], "float32")
factor = 4
old = np.arange(len(signal))
new = (np.arange(factor * len(signal)) + 0.5) / factor - 0.5

names = ["nearest", "linear", "cubic", "lanczos3", "lanczos5"]
figure, axes = plt.subplots(
    len(names), 1, figsize=(7.5, 9), sharex=True, sharey=True
)
for ax, name in zip(axes, names, strict=True):
    layer = Upsample1D(factor, interpolation=name)
    enlarged = numpy(layer(signal[None, :, None])).ravel()
    for edge in np.arange(len(signal) + 1) - 0.5:
        ax.axvline(edge, color="0.88", zorder=0)
    ax.plot(new, enlarged, ".-", label="new pixels")
    ax.plot(old, signal, "o", mfc="none", ms=9, label="old pixels")
    ax.set_title(
        f"{name}: values from {enlarged.min():.2f} to {enlarged.max():.2f}",
        fontsize=10,
    )
    ax.set_ylabel("value")
axes[0].legend(loc="lower right", fontsize=8)
axes[-1].set_xlabel("position (old pixels; grey lines are their edges)")
plt.show()

# %% [markdown]
# - *Nearest* copies. It makes steps, and it never leaves the range of the values it was given.
# - *Linear* draws straight lines between neighbours. It stays in the range too.
# - *Cubic* and *Lanczos* bend their curves to keep edges crisp. The price is in the titles:
#   they swing below the smallest and above the largest value beside a sharp step.
#
# Beyond the first and the last pixel there is nothing to look at. The weights of neighbours
# that do not exist are dropped, and the others are scaled until they sum to one. So a constant
# signal stays constant up to its border, whatever the interpolation.
#
# ### Two axes
#
# An image is enlarged along one axis, then along the other. The smallest image worth looking at
# has four pixels. Here it is enlarged 32 times with linear interpolation.

# %%
tiny = np.array([0, 0.5, 1, 1.5], "float32").reshape(1, 2, 2, 1)
large = numpy(Upsample2D(32, interpolation="linear")(tiny))
print(tiny.shape, "becomes", large.shape)

figure, axes = plt.subplots(1, 2, figsize=(8, 3.6))
for ax, image, title in zip(
    axes, (tiny, large), ("2×2", "enlarged 32 times: 64×64"), strict=True
):
    shown = ax.imshow(image[0, ..., 0], cmap="viridis", vmin=0, vmax=1.5)
    ax.set(title=title, xlabel="column", ylabel="row")
axes[0].set(xticks=[0, 1], yticks=[0, 1])
figure.colorbar(shown, ax=axes, label="value")
plt.show()

# %% [markdown]
# The corners are flat: from the centre of a corner pixel outwards there is no further
# neighbour. Along the middle the values climb in straight lines, from one centre to the next.
#
# On a real image, here a piece of a handwritten digit, the interpolations look like this:

# %%
root = next(
    p
    for p in (Path.cwd(), *Path.cwd().parents)
    if (p / "examples/digits.py").exists()
)
sys.path.insert(0, str(root / "examples"))
import digits

mnist = digits.load("sample")
print(mnist.description)

crop = mnist.test[7:8, 6:20, 7:21]
figure, axes = plt.subplots(2, 3, figsize=(8, 5.6))
axes = axes.ravel()
axes[0].imshow(crop[0, ..., 0], cmap="gray", vmin=0, vmax=1)
axes[0].set_title("14×14 pixels of a digit")
for ax, name in zip(axes[1:], names, strict=True):
    enlarged = numpy(Upsample2D(8, interpolation=name)(crop))
    ax.imshow(enlarged[0, ..., 0], cmap="gray", vmin=0, vmax=1)
    ax.set_title(f"{name}, 8 times")
for ax in axes:
    ax.set_axis_off()
plt.show()

# %% [markdown]
# ## An autoencoder
#
# An autoencoder squeezes an image through a narrow place and builds it up again. The encoder
# below takes 28×28 pixels down to 4×4 with 8 channels each; the decoder goes back up in three
# steps. Each step of the decoder is one layer, `UpsampleConv2D`: it enlarges the map, then
# convolves it. The first one uses `padding="valid"`, which trims 8×8 to 7×7, so that two more
# doublings end at 28×28. `tutorial_autoencoder()` returns this network ready made.

# %%
options = {"activation": "relu", "kernel_initializer": "he_uniform"}
autoencoder = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        layers.Conv2D(8, 2, padding="same", **options),
        layers.MaxPooling2D(2, padding="same"),
        layers.Conv2D(8, 2, padding="same", **options),
        layers.MaxPooling2D(2, padding="same"),
        layers.Conv2D(8, 2, strides=2, padding="same", **options),
        layers.Conv2D(8, 2, padding="same", **options),
        UpsampleConv2D(
            8, 2, interpolation="linear", padding="valid", **options
        ),
        UpsampleConv2D(8, 2, interpolation="linear", **options),
        UpsampleConv2D(
            1, 2, interpolation="linear", **options | {"activation": "sigmoid"}
        ),
    ]
)
for layer in autoencoder.layers:
    shape, parameters = str(layer.output.shape), layer.count_params()
    print(f"{layer.name:20} {shape:20} {parameters:5} parameters")
print(f"{autoencoder.count_params():,} parameters in all")

# %% [markdown]
# It learns to give back the digit it was shown. The loss is the binary cross-entropy between
# each pixel and its reconstruction. Grey pixels keep that loss above zero even for a perfect
# copy, so the number alone says little. Two others give it a scale: the lowest loss that is
# possible on these digits, and the loss of predicting the average grey everywhere.

# %%
cut = len(mnist.train) * 8 // 10
training, validation = mnist.train[:cut], mnist.train[cut:]

autoencoder.compile(optimizer="adam", loss="binary_crossentropy")
history = autoencoder.fit(
    training,
    training,
    batch_size=25,
    epochs=8,
    validation_data=(validation, validation),
    verbose=0,
).history
test_loss = autoencoder.evaluate(mnist.test, mnist.test, verbose=0)
lowest = digits.entropy(mnist.test)
constant = digits.constant_loss(training, mnist.test)

print(f"test loss after {len(history['loss'])} epochs  {test_loss:.4f}")
print(f"lowest possible             {lowest:.4f}")
print(f"the same grey everywhere    {constant:.4f}")

# %%
epochs = np.arange(1, len(history["loss"]) + 1)
figure, ax = plt.subplots(figsize=(7, 3.4))
ax.plot(epochs, history["loss"], "o-", label="training")
ax.plot(epochs, history["val_loss"], "s--", label="validation")
ax.axhline(constant, color="0.5", ls=":", label="the same grey everywhere")
ax.axhline(lowest, color="black", ls="-.", label="lowest possible")
ax.set(
    title="Loss of the autoencoder",
    xlabel="epoch",
    ylabel="binary cross-entropy (nats)",
)
ax.set_ylim(0, None)
ax.legend(fontsize=8)
plt.show()

# %%
shown = mnist.test[:8]
rebuilt = autoencoder.predict(shown, verbose=0)
figure, axes = plt.subplots(2, len(shown), figsize=(8.5, 2.5))
for row, images, name in zip(
    axes, (shown, rebuilt), ("digits", "rebuilt"), strict=True
):
    for ax, image in zip(row, images, strict=True):
        ax.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
figure.suptitle("Test digits and their reconstructions", fontsize=11)
plt.show()

# %% [markdown]
# The reconstructions are soft: few parameters, few digits and few rounds of training. They are
# soft *evenly*, though: no grid lies over them. `python examples/mnist_autoencoder.py` trains the
# same network for longer, on these digits or on all of MNIST.

# %% [markdown]
# ## Upsampling and transposed convolution
#
# The other common way to enlarge is `Conv2DTranspose`. It walks over the small map, and for
# every pixel it stamps a copy of its kernel, scaled by the pixel's value, onto the large one.
# With `strides=2` the stamps are two pixels apart. Where stamps overlap they add up.
#
# ### Uneven overlap
#
# Take a kernel of ones and an image of ones. Then every output pixel simply counts the stamps
# that reached it.

# %%
ones = np.ones((1, 6, 6, 1), "float32")
stamps = {}
for size in (3, 4):
    layer = layers.Conv2DTranspose(
        1,
        size,
        strides=2,
        padding="same",
        use_bias=False,
        kernel_initializer="ones",
    )
    stamps[f"Conv2DTranspose\nkernel {size}, stride 2"] = numpy(layer(ones))[
        0, ..., 0
    ]
layer = UpsampleConv2D(
    1, 3, padding="edge", use_bias=False, kernel_initializer="ones"
)
stamps["UpsampleConv2D\nkernel 3, size 2"] = numpy(layer(ones))[0, ..., 0]

figure, axes = plt.subplots(1, 3, figsize=(9, 3.9))
for ax, (title, counts) in zip(axes, stamps.items(), strict=True):
    ax.imshow(counts, cmap="cividis", vmin=0, vmax=9)
    for (row, column), count in np.ndenumerate(counts):
        color = "black" if count > 4 else "white"
        ax.text(
            column,
            row,
            f"{count:.0f}",
            ha="center",
            va="center",
            fontsize=7,
            color=color,
        )
    ax.set_title(title, fontsize=10)
    ax.set(xlabel="column", xticks=range(0, 12, 2), yticks=range(0, 12, 2))
axes[0].set_ylabel("row")
figure.suptitle(
    "How much arrives at each output pixel: image of ones, kernel of ones",
    fontsize=11,
)
plt.show()

# %% [markdown]
# With kernel 3 and stride 2 the counts alternate: 1 and 2 along each axis, so 1, 2 and 4 in the
# plane. This is the checkerboard, before anything was learned. With kernel 4 the interior is
# even. The common advice follows from that: *choose a kernel size that the stride divides*.
#
# ### Why divisible is not enough
#
# The advice evens out the *number* of stamps. It does not even out their *weights*. An output
# pixel only ever sees every second column of the kernel, and its neighbour to the right only the
# others; likewise for rows. In two dimensions with stride 2 there are therefore four
# kinds of output pixel, called *phases*, each with a small kernel of its own. On a constant
# image each kind answers with the sum of its own weights, and nothing makes four sums of
# different weights equal.
#
# Here are the four answers to an image of ones, with the random kernels that layers start from:

# %%
flat = np.ones((1, 12, 12, 1), "float32")


def draw_kernel(seed):
    return keras.initializers.GlorotUniform(seed=seed)


def transposed(size, seed, filters=1):
    return layers.Conv2DTranspose(
        filters,
        size,
        strides=2,
        padding="same",
        kernel_initializer=draw_kernel(seed),
    )


def upsampled(size, seed, filters=1, **options):
    return UpsampleConv2D(
        filters, size, kernel_initializer=draw_kernel(seed), **options
    )


candidates = {
    "Conv2DTranspose, kernel 3": transposed(3, seed=1),
    "Conv2DTranspose, kernel 4": transposed(4, seed=1),
    "UpsampleConv2D,  kernel 3": upsampled(3, seed=1),
}
print(" " * 26, "row, column of the phase")
print(" " * 26, "  0, 0    0, 1    1, 0    1, 1")
for name, layer in candidates.items():
    interior = numpy(layer(flat))[0, 8:10, 8:10, 0]
    print(
        f"{name:26}", "  ".join(f"{value:6.3f}" for value in interior.ravel())
    )

# %% [markdown]
# The transposed convolution turns a constant into a pattern of four values that repeats every
# two pixels, with kernel 4 as with kernel 3. Upsampling first turns the constant into a larger
# constant, and away from the border a convolution gives the same answer everywhere on it: all
# four phases agree, for *every* kernel, trained or not.
#
# On a smooth image, through one untrained layer each:

# %%
y, x = np.mgrid[:24, :24] / 23
smooth = np.exp(-((x - 0.4) ** 2 + (y - 0.45) ** 2) / 0.08)[
    None, ..., None
].astype("float32")

panels = {
    "input, 24×24": smooth,
    "Conv2DTranspose\nkernel 3, stride 2": transposed(3, seed=1)(smooth),
    "Conv2DTranspose\nkernel 4, stride 2": transposed(4, seed=1)(smooth),
    "UpsampleConv2D\nkernel 3, nearest": upsampled(3, seed=1)(smooth),
    "UpsampleConv2D\nkernel 3, linear": upsampled(
        3, seed=1, interpolation="linear"
    )(smooth),
}
figure, axes = plt.subplots(2, 5, figsize=(9, 4.6))
for column, (title, image) in zip(axes.T, panels.items(), strict=True):
    image = numpy(image)[0, ..., 0]
    middle = image[len(image) // 2]
    column[0].imshow(image, cmap="gray")
    column[0].set_title(title, fontsize=9)
    column[0].set_axis_off()
    column[1].plot(middle, lw=1)
    column[1].set_xlabel("column", fontsize=8)
    column[1].tick_params(labelsize=7)
axes[1, 0].set_ylabel("value along\nthe middle row", fontsize=8)
plt.show()

# %% [markdown]
# The curves below the images are the middle rows. Both transposed convolutions jump up and down
# from pixel to pixel. Upsampling follows the hill. With nearest interpolation it follows it in
# small steps, because copying turns a slope into a staircase; linear interpolation has no steps.
# They show here because the content is smooth and nothing is trained: a trained convolution smooths
# them as far as the task asks for it. [Choosing](choosing.html#which-interpolation) says when to
# take which.
#
# Training can teach a transposed convolution to make its phases agree. Nothing obliges it to:
# the loss has to ask for it, in every layer. With upsampling and convolution a flat region stays
# flat whatever is learned.
#
# ### One is a special case of the other
#
# Upsampling and convolution, taken together, *are* a transposed convolution, one whose kernel
# is not free. For nearest interpolation it is the convolution's kernel, flipped and smeared with a
# box as wide as the factor. The box gives every phase the same sum. For a kernel of 3 and a
# factor of 2 that makes a kernel of 4:

# %%
rng = np.random.default_rng(0)
kernel = rng.normal(size=(3, 3)).astype("float32")

smeared = np.zeros((4, 4), "float32")
for row in (0, 1):
    for column in (0, 1):
        smeared[row : row + 3, column : column + 3] += kernel[::-1, ::-1]

one_step = layers.Conv2DTranspose(
    1, 4, strides=2, padding="valid", use_bias=False
)
two_steps = UpsampleConv2D(1, 3, use_bias=False)
small = rng.normal(size=(1, 9, 9, 1)).astype("float32")
for layer, weights in ((one_step, smeared), (two_steps, kernel)):
    layer.build(small.shape)
    layer.set_weights([weights[..., None, None]])

difference = numpy(one_step(small))[:, 1:-1, 1:-1] - numpy(two_steps(small))
print("largest difference:", np.abs(difference).max())
sums = smeared.reshape(2, 2, 2, 2).sum(axis=(0, 2)).ravel()
print("sums of the four phases:", ", ".join(f"{value:.4f}" for value in sums))

# %% [markdown]
# The two differ by rounding only, up to the border and with zeros outside it. So nothing exotic
# is going on: compared with a free kernel of 4×4, a kernel of 3×3 behind an upsampling is the
# same operation with fewer parameters, and with the checkerboard left out.
#
# [Upsample and convolve in one step](one_step.html) works this out, for linear interpolation too,
# and says how the layer makes use of it.

# %% [markdown]
# ## What happens at the border
#
# A convolution near the border looks past it. `padding` says what it finds there. Keras's
# `"same"` puts zeros outside. For an image that is not black at the border this is a lie, and it
# shows as a dark rim. To see it, take a bright slope and a kernel that averages 7×7 pixels:

# %%
y, x = np.mgrid[:10, :10] / 9
slope = (0.6 + 0.4 * x)[None, ..., None].astype("float32")


def average(padding):
    layer = UpsampleConv2D(
        1,
        7,
        interpolation="linear",
        padding=padding,
        kernel_initializer=keras.initializers.Constant(1 / 49),
    )
    return numpy(layer(slope))[0, ..., 0]


paddings = ["same", "edge", "symmetric", "reflect", "wrap"]
results = {padding: average(padding) for padding in paddings}
figure, axes = plt.subplots(1, 5, figsize=(10, 2.6))
for ax, (padding, image) in zip(axes, results.items(), strict=True):
    shown = ax.imshow(image, cmap="cividis", vmin=0.2, vmax=1)
    title = '"same" (zeros)' if padding == "same" else f'"{padding}"'
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()
figure.colorbar(shown, ax=axes, label="value", shrink=0.8)
plt.show()

# %%
figure, ax = plt.subplots(figsize=(7, 3.6))
for (padding, image), style in zip(
    results.items(), ["-", "-", "--", "-.", ":"], strict=True
):
    ax.plot(image[10], style, label=padding)
ax.set(title="Along row 10", xlabel="column", ylabel="value", ylim=(0, 1.05))
ax.set_xticks(range(0, 20, 2))
ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# - `"same"` falls off towards every border: three rows and columns of this kernel's output have
#   zeros mixed in.
# - `"edge"` goes on with the last pixel, `"symmetric"` mirrors the map at its edge, `"reflect"`
#   mirrors it at the last pixel. They agree closely on smooth maps.
# - `"wrap"` goes on at the opposite side. That is right for what really is periodic, such as a
#   panorama or an angle, and wrong here: the bright side leaks into the dark one.
# - `"valid"`, not shown, looks at nothing outside and gives a smaller map.
#
# The padding is that of the *enlarged* map, so all of these mean what `numpy.pad` means.
#
# ## Where to go next
#
# - [Choosing](choosing.html) has the short version: which interpolation and which padding.
# - [`UpsampleConv2D`](api/UpsampleConv2D.html) and [`Upsample2D`](api/Upsample2D.html) list all
#   arguments.
#
# ## Further reading
#
# - Odena, Dumoulin, Olah 2016, *Deconvolution and Checkerboard Artifacts*,
#   [Distill](https://distill.pub/2016/deconv-checkerboard/): uneven overlap, and resizing before
#   convolving as the way out.
# - Dumoulin, Visin 2016, *A guide to convolution arithmetic for deep learning*,
#   [arXiv:1603.07285](https://arxiv.org/abs/1603.07285): what a transposed convolution is.
# - Sugawara, Shiota, Kiya 2018, [arXiv:1806.02658](https://arxiv.org/abs/1806.02658): when a
#   transposed convolution is free of the pattern, and the box filter that makes it so.
# - Aitken and others 2017, [arXiv:1707.02937](https://arxiv.org/abs/1707.02937): initialising
#   the phases alike, so that the pattern is absent before training.
