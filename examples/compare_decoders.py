"""Train autoencoders on MNIST that differ only in how the decoder upsamples.

A tutorial reports a binary cross-entropy of about 0.11 for an autoencoder whose decoder
upsamples and about 0.05 for one with transposed convolutions, and blames upsampling. The
numbers do not support that. Grey pixels keep the loss above zero for any model, and on MNIST
0.05 is this lower bound. Only a network that copies every pixel reaches it. The comparison was
therefore between a network with a bottleneck and a network without one.

Here all networks have the same encoder, bottleneck, depth, epochs and order of digits, and start
with the same encoder weights. No decoder has more parameters than the first; where a block needs
more parameters per channel, it gets fewer channels. The initial weights of a decoder are random,
so each is trained from several seeds.

Look at the pictures as well as at the losses. The score measures how strong a pattern of two
pixels is in the reconstructions, in decibels; 0 means no pattern.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from digits import (
    Digits,
    add_output,
    add_training,
    at_least,
    check_output,
    draw_rows,
    entropy,
    load_or_exit,
    markdown,
    save_picture,
    save_text,
)

from keras_upsampling import UpsampleConv2D, autoencoder, checkerboard_score
from keras_upsampling.models import Autoencoder

BATCH_SIZE = 50
LEARNING_RATE = 3e-3
SHOWN = 8
SCORED = 1000


def linear(filters: int, size: int, name: str) -> keras.Layer:
    """Return a block that `autoencoder` has no name for: linear interpolation and convolution."""
    return UpsampleConv2D(
        filters,
        3,
        size,
        interpolation="linear",
        padding="edge",
        data_format="channels_last",
        name=f"{name}_conv",
    )


# The first block sets the budget of parameters.
BLOCKS = {
    "upsample_conv": "upsample_conv",
    "upsample_conv_linear": linear,
    "subpixel_conv": "subpixel_conv",
    "bilinear_additive": "bilinear_additive",
    "carafe": "carafe",
    "dysample": "dysample",
    "transposed": "transposed",
}


class Result(NamedTuple):
    """The result of one training."""

    loss: float  # of the test digits
    score: float  # of the reconstructions, in decibels
    step: float  # seconds per training step
    pictures: np.ndarray


class Clock(keras.callbacks.Callback):
    """Records the time at the end of every epoch."""

    def on_train_begin(self, logs: object = None) -> None:  # noqa: ARG002
        """Record the start time."""
        self.ends = [time.perf_counter()]

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        """Record the end time of an epoch."""
        self.ends.append(time.perf_counter())


def build(block: str, filters: Sequence[int], seed: int) -> Autoencoder:
    """Build the network with the named block; the seed decides its weights."""
    options = {"normalization": "batch", "data_format": "channels_last"}
    # The encoder is built first, so that a seed gives the same encoder weights in every network.
    keras.utils.set_random_seed(seed)
    encoder = autoencoder((28, 28, 1), filters=filters, **options).encoder
    budget = autoencoder((28, 28, 1), filters=filters, **options).decoder.count_params()
    # Channels, except those of the code, are reduced in proportion until the budget is kept.
    for channels in range(filters[0], 0, -1):
        scaled = [max(1, count * channels // filters[0]) for count in filters[:-1]]
        keras.utils.set_random_seed(seed)
        decoder = autoencoder(
            (28, 28, 1), filters=[*scaled, filters[-1]], upsampling=BLOCKS[block], **options
        ).decoder
        if decoder.count_params() <= budget:
            break
    else:
        raise SystemExit(
            f"No decoder of {budget:,} parameters or fewer uses the block {block}. Use more "
            "--filters, or leave it out of --blocks."
        )
    return Autoencoder(encoder, decoder, data_format="channels_last", name="autoencoder")


def train(model: keras.Model, digits: Digits, epochs: int) -> Result:
    """Train the model to reproduce its input, and measure it on the test digits."""
    steps = -(-len(digits.train) // BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps * epochs)
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy")
    clock = Clock()
    model.fit(
        digits.train,
        digits.train,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        verbose=0,
        callbacks=[clock],
    )
    loss = model.evaluate(digits.test, digits.test, batch_size=250, verbose=0)
    pictures = model.predict(digits.test[:SCORED], verbose=0)
    step = float(np.median(np.diff(clock.ends))) / steps
    return Result(loss, score_of(pictures), step, pictures[:SHOWN])


def score_of(pictures: np.ndarray) -> float:
    """Return the mean score of the first `SCORED` pictures, for patterns of two pixels."""
    scores = checkerboard_score(pictures[:SCORED], 2, data_format="channels_last")
    return float(scores.db.mean())


def spread(values: Sequence[float], digits: int) -> str:
    """Format the mean of some values, and their standard deviation if there are several."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_training(parser, epochs=5)
    add_output(parser)
    parser.add_argument(
        "--seeds", type=at_least(1), default=5, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--filters",
        type=at_least(1),
        nargs=3,
        default=[16, 32, 8],
        metavar="N",
        help="channels of the encoder's three stages, the last of which is the 4x4 bottleneck "
        "(default: 16 32 8)",
    )
    parser.add_argument(
        "--blocks",
        nargs="+",
        choices=BLOCKS,
        default=list(BLOCKS),
        metavar="BLOCK",
        help=f"blocks to compare (default: all): {', '.join(BLOCKS)}",
    )
    arguments = parser.parse_args(argv)
    check_output(
        parser,
        arguments.output,
        "compare_decoders.md",
        "compare_decoders.png",
        data=arguments.data,
    )
    digits = load_or_exit(parser, arguments.data)
    floor = entropy(digits.test)
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)

    channels = {}
    for block in arguments.blocks:  # fail before any training if a block exceeds the budget
        decoder = build(block, arguments.filters, arguments.seed).decoder
        activations = [decoder.get_layer(f"up_{number}_activation") for number in (1, 2, 3)]
        channels[block] = " ".join(str(layer.output.shape[-1]) for layer in activations)

    shown = {"test digits": digits.test[:SHOWN]}
    rows = []
    for block in arguments.blocks:
        results = []
        for seed in seeds:
            model = build(block, arguments.filters, seed)
            results.append(train(model, digits, arguments.epochs))
            print(
                f"{block}, seed {seed}: test loss {results[-1].loss:.4f}, "
                f"score {results[-1].score:.1f} dB",
                flush=True,
            )
        losses, scores, times, pictures = zip(*results, strict=True)
        rows.append(
            [
                block,
                channels[block],
                f"{model.count_params():,}",
                spread(losses, 4),
                spread([loss - floor for loss in losses], 4),
                spread(scores, 1),
                f"{1000 * np.median(times):.1f}",
            ]
        )
        shown[f"{block}\ntest loss {losses[0]:.4f}"] = pictures[0]

    header = [
        "decoder",
        "channels",
        "parameters",
        "test loss",
        "above the floor",
        "score (dB)",
        "ms per step",
    ]
    report = "\n".join(
        [
            markdown(header, rows),
            "",
            f"Test loss: binary cross-entropy after {arguments.epochs} epochs in batches of "
            f"{BATCH_SIZE}, "
            + (
                "one seed"
                if len(seeds) == 1
                else f"mean ± standard deviation of {len(seeds)} seeds"
            )
            + f"; the floor is {floor:.4f}. The score of the test digits themselves is "
            f"{score_of(digits.test):.1f} dB. {digits.description}; {keras.backend.backend()}.",
            "",
        ]
    )
    print("\n" + report)
    save_text(report, arguments.output / "compare_decoders.md")
    figure = draw_rows(
        shown,
        f"One encoder, {len(rows)} decoders, each from seed {arguments.seed} "
        f"(lowest possible test loss {floor:.4f})\n"
        f"{digits.description}",
    )
    save_picture(figure, arguments.output / "compare_decoders.png")


if __name__ == "__main__":
    main()
