"""Draw the figures of the pages: `python docs/figures/make.py` writes them beside it.

Any backend will do: NumPy draws the kernels, so the pictures are the same on all.
"""

import io
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np

from keras_upsampling import Upsample2D, UpsampleConv2D, plots
from keras_upsampling.maths.phases import axis_phases

mpl.use("agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
DIGITS = HERE.parents[1] / "examples/data/mnist_sample.npz"


def smooth_image(length: int = 16) -> np.ndarray:
    """Return a soft hill beside a softer one, `(1, length, length, 1)`."""
    y, x = np.mgrid[:length, :length] / (length - 1)
    image = np.exp(-((x - 0.35) ** 2 + (y - 0.4) ** 2) / 0.06)
    image += 0.6 * np.exp(-((x - 0.8) ** 2 + (y - 0.75) ** 2) / 0.03)
    return image[None, ..., None].astype("float32")


def decoder(layer: type[keras.Layer], **options) -> keras.Sequential:
    """Return two untrained layers that enlarge twice each, with kernels that NumPy draws."""
    model = keras.Sequential([
        keras.Input((None, None, 1)),
        layer(16, 3, activation="relu", **options),
        layer(1, 3, **options),
    ])  # fmt: skip
    rng = np.random.default_rng(3)
    for part in model.layers:
        part.set_weights(
            [rng.normal(size=part.kernel.shape), np.zeros(part.bias.shape)]
        )
    return model


def draw_home() -> None:
    """Draw an image and what two untrained decoders make of it."""
    image = smooth_image()
    panels = {
        "input, 16×16": image,
        "Conv2DTranspose, twice\n64×64, untrained": decoder(
            keras.layers.Conv2DTranspose, strides=2, padding="same"
        )(image),
        "UpsampleConv2D, twice\n64×64, untrained": decoder(
            UpsampleConv2D, interpolation="linear", padding="edge"
        )(image),
    }
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.7), layout="constrained")
    for ax, (title, values) in zip(axes, panels.items(), strict=True):
        ax.imshow(keras.ops.convert_to_numpy(values)[0, ..., 0], cmap="gray")
        ax.set_title(title, fontsize=11)
        ax.set_axis_off()
    figure.savefig(HERE / "home.png", dpi=110)


# The example of one_step.md, and how it tells two things apart: the second is darker than the
# first and hatched, so it reads without colours, too.
SAMPLES = np.array([1, 4, 2])
KERNEL = np.array([2, 3, -1])
SIZE = 2
STYLES = (
    {"facecolor": "#FFBC79", "edgecolor": "black"},
    {"facecolor": "#5F9ED1", "edgecolor": "black", "hatch": "///"},
)
GREY = {"facecolor": "0.8", "edgecolor": "black"}
PLAIN = {"facecolor": "white", "edgecolor": "0.4"}
PATCH = {"boxstyle": "round,pad=0.15", "facecolor": "white", "linewidth": 0}

MINUS = "\N{MINUS SIGN}"


def number(value: float) -> str:
    """Write a number with two decimals at most, and a true minus sign."""
    return f"{value:.2f}".rstrip("0").rstrip(".").replace("-", MINUS)


def draw_cells(ax, row, numbers, starts, width=1, styles=None) -> None:
    """Draw a row of boxes with numbers in them."""
    for i, (value, start) in enumerate(zip(numbers, starts, strict=True)):
        style = styles[i] if styles else PLAIN
        ax.add_patch(mpl.patches.Rectangle((start, row), width, 0.7, **style))
        ax.text(
            start + width / 2,
            row + 0.33,
            number(value),
            ha="center",
            va="center",
            fontsize=11,
            bbox=PATCH if "hatch" in style else None,
        )


def draw_phases() -> None:
    """Draw which samples and which sums of taps make an output of each phase."""
    before = (len(KERNEL) - 1) // 2
    phases = axis_phases(0, [[1.0]] * SIZE, len(KERNEL), 1, (before, before))
    matrix = np.reshape(phases.matrix, (SIZE, phases.window, len(KERNEL)))
    enlarged = np.repeat(SAMPLES, SIZE)
    output = np.correlate(np.pad(enlarged, before), KERNEL, "valid")
    everywhere = np.arange(len(enlarged))

    figure, axes = plt.subplots(
        1, SIZE, figsize=(9, 3.6), layout="constrained", sharey=True
    )
    for ax, place in zip(axes, (2, 3), strict=True):
        # The first tap falls on sample `first`, on that copy of it.
        first, copy = divmod(place - before, SIZE)
        sums = matrix[copy] @ KERNEL
        seen = SAMPLES[first : first + phases.window]
        sample_of_tap = matrix[copy].argmax(axis=0)

        draw_cells(ax, 4, SAMPLES, SIZE * np.arange(len(SAMPLES)), SIZE)
        draw_cells(ax, 3, enlarged, everywhere)
        taps = place - before + np.arange(len(KERNEL))
        draw_cells(ax, 2, KERNEL, taps, 1, [STYLES[i] for i in sample_of_tap])
        window = SIZE * (first + np.arange(phases.window))
        draw_cells(ax, 1, sums, window, SIZE, STYLES)
        draw_cells(ax, 0, output, everywhere)
        made = mpl.patches.Rectangle((place, 0), 1, 0.7, fill=False, lw=3)
        ax.add_patch(made)

        terms = [f"{number(w)}·{x}" for w, x in zip(sums, seen, strict=True)]
        sentence = f"{' + '.join(terms)} = {output[place]}"
        ax.set_title(
            f"phase {place % SIZE}: {sentence.replace(f'+ {MINUS}', f'{MINUS} ')}",
            fontsize=11,
        )
        ax.set(xlim=(-0.2, len(enlarged) + 0.2), ylim=(-0.2, 4.9), xticks=[])
        ax.set_yticks(
            np.arange(5) + 0.35,
            [
                "output",
                "taps on one\nsample, summed",
                "kernel, on what\nit looks at",
                "upsampled",
                "input",
            ],
        )
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    figure.savefig(HERE / "phases.png", dpi=100)


def draw_bars(ax, heights, title, styles=STYLES, labels=True) -> None:
    """Draw numbers as bars, those of the two phases told apart."""
    for i, height in enumerate(heights):
        style = styles[i % len(styles)]
        bar = ax.bar(i, height, width=0.8, linewidth=0.8, **style)
        if labels:
            ax.bar_label(bar, [number(height)], padding=2, fontsize=9)
    ax.axhline(0, color="black", lw=0.8, clip_on=False)
    ax.margins(y=0.25)
    ax.set_title(title, fontsize=10)
    ax.set_xticks([])
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    if labels:  # in place of an axis
        ax.spines["left"].set_visible(False)
        ax.yaxis.set_visible(False)


def draw_box() -> None:
    """Draw what the box makes of a kernel, and what it does for a constant."""
    box = np.ones(SIZE)
    composed = np.convolve(KERNEL[::-1], box)
    free = np.random.default_rng(2).normal(size=len(composed))
    free *= composed.sum() / free.sum()  # as bright, on the whole
    constant = np.zeros(8 * SIZE)
    constant[::SIZE] = 1

    figure = plt.figure(figsize=(9, 7), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 2.6], hspace=0.06)
    axes = above.subplots(1, 3, sharey=True, width_ratios=[3, 2, 4])
    draw_bars(
        axes[0], KERNEL[::-1], "kernel of the convolution, flipped", [GREY]
    )
    draw_bars(axes[1], box, "*  box", [GREY])
    draw_bars(axes[2], composed, "=  kernel of the transposed convolution")

    kernels = {"four random taps": free, "the kernel above": composed}
    axes = below.subplots(3, 2, sharey="row")
    for column, (name, kernel) in zip(axes.T, kernels.items(), strict=True):
        sums = [kernel[phase::SIZE].sum() for phase in range(SIZE)]
        answer = np.convolve(constant, kernel)[len(kernel) : len(constant)]
        draw_bars(column[0], kernel, name)
        draw_bars(column[1], sums, "sums of its phases")
        column[1].set_xlim(-1.5, SIZE + 0.5)
        column[1].set_xticks(
            range(SIZE), [f"phase {i}" for i in range(SIZE)], fontsize=9
        )
        column[1].tick_params(length=0)
        draw_bars(column[2], answer, "its answer to a constant", labels=False)
        column[2].set_xlabel("output sample, away from the border", fontsize=9)
    figure.savefig(HERE / "box.png", dpi=100)


def draw_score() -> None:
    """Draw what the score sees in a digit, without and with a checkerboard."""
    with np.load(DIGITS) as digits:
        digit = digits["x_test"][3][None, ..., None] / np.float32(255)
    enlarge = Upsample2D(2, interpolation="cubic", data_format="channels_last")
    enlarged = keras.ops.convert_to_numpy(enlarge(digit))[0, ..., 0]
    enlarged = enlarged.clip(0, 1)  # cubic overshoots
    # How many taps of a kernel of 3 a transposed convolution has on each phase.
    taps = np.outer([2, 1], [2, 1])
    tile = 0.02 * (taps - taps.mean()) / taps.std()
    pattern = np.tile(tile, [n // 2 for n in enlarged.shape])

    rows = []
    images = {
        "Without a checkerboard": enlarged,
        "With one": enlarged + pattern,
    }
    for name, image in images.items():
        figure = plots.image(image, SIZE)
        figure.suptitle(f"{name}. {figure.get_suptitle()}")
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=80)
        file.seek(0)
        rows.append(plt.imread(file))
    plt.imsave(HERE / "score.png", np.concatenate(rows))


def main() -> None:
    """Draw every figure."""
    draw_home()
    draw_phases()
    draw_box()
    draw_score()


if __name__ == "__main__":
    main()
