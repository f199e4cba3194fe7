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
# # How bad is my checkerboard, and where does it come from?
#
# Five decoders differ in one thing only: how they enlarge. This page measures the checkerboard
# that each makes, before training and after; finds the layer that makes it; and takes it out of
# a model that is trained already.
#
# Every figure and every number here was made by the code above it when the page was built.

# %%
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops

import keras_upsampling
from keras_upsampling import (
    UpsampleConv2D,
    audit_kernel,
    checkerboard_score,
    plots,
    repair,
)
from keras_upsampling.constraints import CheckerboardFree
from keras_upsampling.metrics import Checkerboard

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
# The digits are put on a soft background of greys, a slope in a random direction. On black nothing
# of a checkerboard would be seen: a sigmoid that gives 0 hides what comes before it.

# %%


def on_grey(images, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:28, :28] / 27 - 0.5
    down, across = rng.uniform(-0.3, 0.3, (2, len(images), 1, 1))
    background = 0.4 + down * y + across * x
    return (0.6 * background[..., None] + 0.4 * images).astype("float32")


train_images = on_grey(mnist.train, seed=0)
test_images = on_grey(mnist.test, seed=1)

# %% [markdown]
# ## Five autoencoders
#
# The encoder is the same for all: two convolutions, each followed by an average over 2×2, take
# a digit of 28×28 pixels to 7×7 with 8 channels. The decoder goes back up in two steps, by one
# of these:

# %%
same = {"padding": "same", "activation": "relu"}


def transposed(taps, **options):
    return lambda x: layers.Conv2DTranspose(
        8, taps, strides=2, **same, **options
    )(x)


def subpixel(x):
    return ops.depth_to_space(layers.Conv2D(4 * 8, 3, **same)(x), 2)


def upsampled(interpolation):
    return lambda x: UpsampleConv2D(8, 3, interpolation=interpolation, **same)(
        x
    )


WAYS = {
    "Conv2DTranspose, 3×3": transposed(3),
    "Conv2DTranspose, 4×4": transposed(4),
    "sub-pixel convolution": subpixel,
    "UpsampleConv2D, nearest": upsampled("nearest"),
    "UpsampleConv2D, linear": upsampled("linear"),
}


def autoencoder(enlarge):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 3, **same),
            layers.AveragePooling2D(2),
            layers.Conv2D(8, 3, **same),
            layers.AveragePooling2D(2),
        ],
        name="encoder",
    )
    code = keras.Input((7, 7, 8))
    features = enlarge(enlarge(code))
    image = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(features)
    decoder = keras.Model(code, image, name="decoder")
    x = keras.Input((28, 28, 1))
    return keras.Model(x, decoder(encoder(x)))


models = {name: autoencoder(enlarge) for name, enlarge in WAYS.items()}

# %% [markdown]
# ## Before training
#
# What an untrained decoder makes is no digit, but it can be looked at, and measured. The two
# steps enlarge by 4 together, so that is the period of the pattern:

# %%


def show(models, title):
    figure, axes = plt.subplots(1, 1 + len(models), figsize=(10, 2.4))
    axes[0].imshow(test_images[3, ..., 0], cmap="gray")
    axes[0].set_title("input", fontsize=9)
    for ax, (name, model) in zip(axes[1:], models.items(), strict=True):
        made = ops.convert_to_numpy(model(test_images[:64]))
        # Untrained, it makes greys only that are nearly one.
        score = checkerboard_score(made, 4, data_range=float(np.ptp(made)))
        ax.imshow(made[3, ..., 0], cmap="gray")
        decibels = 10 * np.log10(np.mean(10 ** (score.db / 10)))
        found = np.mean(score.detected)
        ax.set_title(
            f"{name}\n{decibels:.1f} dB, detected in {found:.0%}", fontsize=7
        )
    for ax in axes:
        ax.set_axis_off()
    figure.suptitle(title, fontsize=10)
    plt.show()


show(models, "Untrained")

# %% [markdown]
# 0 dB is no pattern at all: as much power at the pattern's frequencies as around them.
# [`plots.image`](api/plots.image.html) shows where the score comes from. For the first decoder,
# the bright spots in the rings are the pattern. As above, the range is that of the pictures
# themselves:

# %%
name = "Conv2DTranspose, 3×3"
made = ops.convert_to_numpy(models[name](test_images[3:4]))
plots.image(made[0], 4, data_range=float(np.ptp(made)))

# %% [markdown]
# ## Where it comes from
#
# `audit` calls the model once, looks at every layer that enlarges maps or makes them smaller, and
# says what to do about it. It looks into models in the model and into wrappers (`TimeDistributed`),
# and at functions that code calls, such as `keras.ops.image.resize`:

# %%
found = keras_upsampling.audit(models[name])
print(found)

# %%
plots.audit(found)

# %% [markdown]
# How to read it:
#
# - A layer with stride 2 makes its output in four ways, the *phases*: one for even rows and even
#   columns, and so on. *Gain* compares what they answer to a constant. It is 0 where constants
#   stay constant. Here the phases differ from their mean by more than the mean itself, and so
#   it is for any kernel that is drawn at random: about √3 for four independent phases.
# - *Ramp* compares what they answer to a slope. *Power* compares what they make of noise.
# - *Compound* is what the kernels so far add up to by themselves, relative to the mean. It is an
#   estimate: activations, biases and the layers in between change it, often to far less.
# - The *measured* line is the truth about the model as it is, activations included: constants
#   were sent through the decoder on large maps, and this share of the output repeats. Where the
#   two differ, trust this one.
# - The line on each layer says what to use instead. The kernel size is the one that reaches as
#   far as the transposed convolution's, with its centre on the pixel.
#
# The power is uneven since three taps and a stride of two do not fit: some pixels are made from
# four input pixels, and their neighbours from one or two.

# %%
plots.overlap(models[name].get_layer("decoder").layers[1])

# %% [markdown]
# With a kernel of 4×4 the overlap is even. That mends the power and leaves the gain as it was:

# %%
print("                          gain   power  overlap")
for name, model in models.items():
    layer = model.get_layer("decoder").layers[1]
    strides = 2 if isinstance(layer, layers.Conv2D) else None
    one = audit_kernel(layer, strides)
    print(
        f"{name:24}{one.gain:7.1%}{one.power:7.1%}  {one.overlap.ravel().tolist()}"
    )

# %% [markdown]
# ## After training
#
# Training lowers the pattern, since it costs, but nothing makes it remove it. Each model is trained
# for two epochs:

# %%


def train(model, epochs=2):
    model.compile("adam", "mse", jit_compile=False)  # compiling takes longer
    history = model.fit(
        train_images,
        train_images,
        batch_size=64,
        epochs=epochs,
        verbose=0,
        validation_data=(test_images, test_images),
    )
    return history.history["val_loss"][-1]


def score_of(model):
    metric = Checkerboard(4)
    metric.update_state(test_images, model(test_images))
    return metric.details()


print("                           loss    score  detected  measured ripple")
for name, model in models.items():
    loss = train(model)
    score = score_of(model)
    ripple = keras_upsampling.audit(model).response.ripple
    print(
        f"{name:24}{loss:8.4f}{score['db']:6.1f} dB"
        f"{score['detection_rate']:10.0%}{ripple:17.1%}"
    )

# %%
show(models, "Trained")

# %% [markdown]
# *Detected* is the share of single digits in which the pattern is certain; the *measured ripple*
# is the response to constants, as above. Two epochs are little, and the pattern goes on to sink
# with more of them: set `epochs` higher to see how far.
#
# ## Mending it
#
# The sure way is a layer whose phases agree whatever is learned, as in the last two rows. Where a
# transposed convolution has to stay, a constraint keeps it to kernels whose phases have one gain,
# from the first training step on:

# %%
constrained = autoencoder(transposed(4, kernel_constraint=CheckerboardFree(2)))
loss = train(constrained)
score = score_of(constrained)
ripple = keras_upsampling.audit(constrained).response.ripple
print(f"loss {loss:.4f}, score {score['db']:.1f} dB, ripple {ripple:.1%}")

# %% [markdown]
# And a model that is trained already can be repaired, in a copy. Every kernel is moved to the
# nearest one whose phases agree. That is another model then, so look at its loss: a little more
# training makes up for it.

# %%
repaired = repair(models["Conv2DTranspose, 4×4"], test_images[:64])
print(repaired)
for title, model in (
    ("before", models["Conv2DTranspose, 4×4"]),
    ("after", repaired.model),
):
    error = ops.convert_to_numpy(model(test_images)) - test_images
    print(f"loss {title}: {np.mean(error**2):.4f}")

# %% [markdown]
# Agreeing on constants is not all, and so some of the score remains. Phases with one gain may still
# differ in what they do to slopes and edges, and a kernel of 3×3 in what it does to noise. Nearest
# upsampling and a convolution differ on slopes too, until training has smoothed the steps.
# [Choosing](choosing.html#which-interpolation) says when they matter, and when linear
# interpolation, which makes none, costs more than it brings.
#
# ## The other way round: gradients
#
# A layer that makes maps smaller has a checkerboard in its *gradient*. It does not show in what
# the model makes; it means that some pixels of the input teach the network more than others. (A
# maximum picks one pixel of each window, another in every image; on the average over noise, as
# here, that is nearly even, and in one image it is not.)

# %%
encoders = {
    "strided, 3×3": lambda: [layers.Conv2D(16, 3, strides=2, **same)],
    "strided, 4×4": lambda: [layers.Conv2D(16, 4, strides=2, **same)],
    "maximum": lambda: [layers.Conv2D(16, 3, **same), layers.MaxPooling2D(2)],
    "average": lambda: [
        layers.Conv2D(8, 3, **same),
        layers.AveragePooling2D(2),
    ],
}
print("unevenness of the gradient at the input")
for name, make in encoders.items():
    encoder = keras.Sequential([keras.Input((28, 28, 1)), *make()])
    print(f"{name:14}{keras_upsampling.audit(encoder).gradient.ripple:6.1%}")

# %% [markdown]
# ## Where to go next
#
# - [Measuring](measuring.html): how the score works, how sure it is, and what it cannot tell.
# - [`audit`](api/audit.html), [`audit_kernel`](api/audit_kernel.html),
#   [`repair`](api/repair.html), [`CheckerboardFree`](api/constraints.CheckerboardFree.html): all
#   arguments.
# - `python -m keras_upsampling score PATH...` and `python -m keras_upsampling audit MODEL.keras`
#   do the same from the command line.
