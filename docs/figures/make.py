"""Draw the figure of the home page: `python docs/figures/make.py` writes home.png beside it.

Any backend will do: the kernels are drawn by NumPy, so the picture is the same on all.
"""

from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np

from keras_upsampling import UpsampleConv2D

mpl.use("agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent


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


def main() -> None:
    """Draw the input and what the two untrained decoders make of it."""
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


if __name__ == "__main__":
    main()
