"""Train two autoencoders on MNIST that differ in nothing but the decoder.

A tutorial reports a binary cross-entropy of about 0.11 for an autoencoder whose decoder
upsamples and about 0.05 for one with transposed convolutions, and blames upsampling. Those
numbers cannot say that. Grey pixels keep the loss above zero whatever a model does, and on
MNIST 0.05 lies at that floor. Only a network that hands every pixel through reaches it, so the
comparison was between a network with a bottleneck and one without.

Here both networks have the same encoder, bottleneck, filters, kernel sizes and number of
parameters, start with the same encoder weights, and see the same digits in the same order.
Chance remains in the start of each decoder: try several values of --seed before concluding.

Look at the pictures as well as at the losses. A transposed convolution with kernel 2 and stride
2 makes a block of four pixels out of one, with weights of its own for each of the four and
nothing shared across the edges of the block. Upsampling first means one kernel for all pixels,
on a map that is already smooth.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import keras
from digits import (
    add_output,
    add_training,
    check_output,
    draw_rows,
    load_or_exit,
    save_picture,
    table,
)
from keras.layers import Conv2DTranspose, Cropping2D
from mnist_autoencoder import (
    BATCH_SIZE,
    SHOWN,
    build_autoencoder,
    references,
    split,
    train,
    upsampling_decoder,
)


def transposed_decoder() -> list[keras.Layer]:
    """Layers from the bottleneck back to 28x28x1, by transposed convolutions."""
    options = {"strides": 2, "padding": "same", "kernel_initializer": "he_uniform"}
    return [
        Conv2DTranspose(8, 2, activation="relu", **options),  # 4 -> 8
        # A transposed convolution cannot go from 4 to 7 with this kernel and stride. Cropping
        # costs no parameters, and drops the same row and column as "valid" does in the other.
        Cropping2D(((0, 1), (0, 1))),  # 7x7
        Conv2DTranspose(8, 2, activation="relu", **options),  # 14x14
        Conv2DTranspose(1, 2, activation="sigmoid", **options),  # 28x28
    ]


DECODERS = {"upsample, convolve": upsampling_decoder, "transposed": transposed_decoder}


def build(name: str, seed: int) -> keras.Model:
    """Build the network with the named decoder; the seed decides its weights."""
    # The encoder is made first, so that one seed gives it the same weights in every network.
    keras.utils.set_random_seed(seed)
    return build_autoencoder(DECODERS[name])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_training(parser)
    add_output(parser)
    arguments = parser.parse_args(argv)
    check_output(parser, arguments.output)
    digits = load_or_exit(parser, arguments.data)
    parts = split(digits)

    shown = digits.test[:SHOWN]
    rows = {}
    pictures = {"test digits": shown}
    for name in DECODERS:
        model = build(name, arguments.seed)
        parameters = model.count_params()
        print(f"\nDecoder: {name}, {parameters:,} parameters in the whole network")
        losses = train(model, parts, epochs=arguments.epochs, seed=arguments.seed)
        rows[name] = [f"{parameters:,}", *losses]
        pictures[f"{name}\ntest loss {losses[2]:.4f}"] = model.predict(shown, verbose=0)
    known = references(parts)
    rows |= {name: ["", *losses] for name, losses in known.items()}

    print(f"\nBinary cross-entropy after {arguments.epochs} epochs, batches of {BATCH_SIZE}")
    print(f"Digits: {digits.description}")
    print(table(["parameters", "training", "validation", "test"], rows), end="\n\n")

    figure = draw_rows(
        pictures,
        "One encoder, two decoders "
        f"(lowest possible test loss {known['lowest possible'][2]:.4f})\n{digits.description}",
    )
    save_picture(figure, arguments.output / "compare_decoders.png")


if __name__ == "__main__":
    main()
