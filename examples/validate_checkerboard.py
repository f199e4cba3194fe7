"""Check the checkerboard score against patterns that were put into photographs by hand.

The photographs are those that scikit-image, scikit-learn and PyWavelets install (`pip install
scikit-image scikit-learn PyWavelets`). Some carry patterns of their own, from the camera or from
JPEG, and a score that finds those is right. So that they do not count as false alarms, the
photographs are made smaller first, by 0.7, which leaves no pattern of a whole period.

Crops at random places are scored as they are and with a pattern added: a plain checkerboard, the
overlaps of a transposed convolution, or random numbers, repeated each `size` samples. The area
under the curve (AUC) says how well the score tells the two apart: 0.5 is chance, 1 is without a
mistake. Amplitudes are root mean squares, as shares of the range.

White noise shows how exact the amplitude of a pattern is, and what the score is where there is
none, down to the smallest images.
"""

from __future__ import annotations

import argparse
import io
import itertools
import math
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_upsampling import checkerboard_score, detect_stride
from keras_upsampling.commands.files import check_writable, named_path, replace_file
from keras_upsampling.ops._checkerboard.score import CheckerboardScore

# The form of the high-pass was tried on these before it was on synthetic images.
TRIED = [
    "astronaut",
    "brick",
    "camera",
    "cell",
    "chelsea",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "retina",
    "rocket",
]

# No constant was chosen by these. False alarms of the first two had been seen once when the
# high-pass got the form it has; the others were first scored when the score was as it is. Of the
# same libraries PyWavelets's aero is left out, since it has a pattern: rows of a scanner, 4.3 apart
# and so 3.0 once it is made smaller, 19 dB above what is around them in the spectrum.
HELD_OUT = ["clock", "stereo_motorcycle", "china", "flower", "ascent"]


def photographs(names: Sequence[str]) -> list[np.ndarray]:
    """Grey photographs in [0, 1], without patterns of their own."""
    try:
        import pywt.data
        import skimage
        from skimage import color, data, transform
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise SystemExit(
            "The photographs are missing: pip install scikit-image scikit-learn PyWavelets"
        ) from error
    elsewhere = {
        "china": lambda: load_sample_image("china.jpg"),
        "flower": lambda: load_sample_image("flower.jpg"),
        "ascent": pywt.data.ascent,
    }
    found = []
    for name in names:
        try:
            image = elsewhere[name]() if name in elsewhere else getattr(data, name)()
            image = image[0] if isinstance(image, tuple) else image  # the left of a pair
            image = skimage.util.img_as_float32(image)
        except Exception as error:  # not installed with this version, and not to be fetched
            print(f"left out: {name} ({error})")
            continue
        grey = color.rgb2gray(image) if image.ndim == 3 else image
        found.append(transform.rescale(grey, 0.7, anti_aliasing=True).astype("float32"))
    return found


def crops(photos: Sequence[np.ndarray], count: int, length: int, seed: int) -> np.ndarray:
    """Square crops `(count, length, length, 1)`, from all photographs in turn."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        photo = photos[i % len(photos)]
        top, left = (int(rng.integers(n - length + 1)) for n in photo.shape)
        found.append(photo[top : top + length, left : left + length])
    return np.stack(found)[..., None]


def patterns(count: int, length: int, size: int, seed: int) -> np.ndarray:
    """Patterns of period `size`, of root mean square 1, each with a phase of its own."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        rows, columns = np.indices((size, size))
        overlap = np.where(np.arange(size) == 0, 2.0, 1.0)
        kinds: tuple[Callable[[], np.ndarray], ...] = (
            lambda rows=rows, columns=columns: np.where((rows + columns) % size == 0, 1.0, -1.0),
            lambda overlap=overlap: np.outer(overlap, overlap),
            lambda: rng.standard_normal((size, size)),
        )
        tile = kinds[i % 3]()
        tile = np.roll((tile - tile.mean()) / tile.std(), rng.integers(size, size=2), (0, 1))
        repeats = -(-length // size)
        found.append(np.tile(tile, (repeats, repeats))[:length, :length])
    return np.stack(found)[..., None]


def waves(count: int, length: int, seed: int) -> np.ndarray:
    """Slow waves of mean 0 and root mean square 1, to make patterns stronger and weaker with."""
    rng = np.random.default_rng(seed)
    place = np.arange(length) / length
    angle = 2 * np.pi * (place + rng.random((count, 1)))
    one = np.sin(angle)[:, :, None] * np.ones(length)
    turned = np.where(rng.random((count, 1, 1)) < 0.5, one, np.swapaxes(one, 1, 2))
    return (turned / turned.std(axis=(1, 2), keepdims=True))[..., None]


def compressed(images: np.ndarray, quality: int) -> np.ndarray:
    """What JPEG makes of images."""
    from PIL import Image

    found = []
    for image in images:
        file = io.BytesIO()
        levels = (image[..., 0].clip(0, 1) * 255).round().astype("uint8")
        Image.fromarray(levels).save(file, "jpeg", quality=quality)
        found.append(np.asarray(Image.open(file), dtype="float32") / 255)
    return np.stack(found)[..., None]


def blurred(images: np.ndarray) -> np.ndarray:
    """What a decoder makes of images: a little blurred, and with some noise."""
    wide = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = 0.2 * wide[:, :-2] + 0.6 * wide[:, 1:-1] + 0.2 * wide[:, 2:]
    soft = 0.2 * rows[:, :, :-2] + 0.6 * rows[:, :, 1:-1] + 0.2 * rows[:, :, 2:]
    return soft + np.random.default_rng(9).normal(0, 0.004, soft.shape)


def auc(clean: np.ndarray, dirty: np.ndarray) -> float:
    """Share of the pairs in which the dirty one scores higher."""
    ranks = np.concatenate([clean, dirty]).argsort().argsort()[len(clean) :]
    return float((ranks.sum() - len(dirty) * (len(dirty) - 1) / 2) / (len(clean) * len(dirty)))


def pooled(db: np.ndarray, pool: int) -> np.ndarray:
    """Mean score of every `pool` images."""
    whole = db[: len(db) // pool * pool].reshape(-1, pool)
    return 10 * np.log10(np.mean(10 ** (whole / 10), axis=1))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


SIZES = (2, 3, 4)
LENGTHS = (32, 64)
AMPLITUDES = (0.001, 0.002, 0.005, 0.01)
QUALITIES = (95, 75, 50)
# What the cost is measured on: images, and samples along an axis.
COUNT, SIDE = 64, 256


def parts(count: int) -> list[slice]:
    """Slices of a batch that are small enough to be quick."""
    return [slice(start, start + 200) for start in range(0, count, 200)]


def score(
    images: np.ndarray, size: int, reference: np.ndarray | None = None, rank: int = 2
) -> CheckerboardScore:
    """The score of images with channels last."""
    found = [
        checkerboard_score(
            images[part],
            (size,) * rank,
            reference=None if reference is None else reference[part],
            data_format="channels_last",
        )
        for part in parts(len(images))
    ]
    return CheckerboardScore(*map(np.concatenate, zip(*found, strict=True)))


def periods_of(images: np.ndarray) -> np.ndarray:
    """The periods that are found in images with channels last."""
    found = [
        detect_stride(images[part], data_format="channels_last").stride
        for part in parts(len(images))
    ]
    return np.concatenate(found)


def tables(photos: Sequence[np.ndarray], count: int, seed: int, advance: Callable[[], None]) -> str:
    """All that is measured on so many crops of each kind; `advance` is called now and then."""
    found, alarms, special = [], [], []
    periods_found: dict[int, list[float]] = {length: [] for length in LENGTHS}
    for length, size in itertools.product(LENGTHS, SIZES):
        case = [f"{length}x{length}", str(size)]
        clean = crops(photos, count, length, seed)
        other = crops(photos, count, length, seed + 1)
        added = patterns(count, length, size, seed)
        base = score(clean, size)
        found.append(
            case + [f"{auc(base.db, score(other + a * added, size).db):.3f}" for a in AMPLITUDES]
        )
        modulated = score(other + 0.01 * added * waves(count, length, seed), size)
        soft, soft_other = blurred(clean), blurred(other)
        with_reference = [
            score(soft, size, reference=clean),
            score(soft_other + 0.001 * added, size, reference=other),
        ]
        pools = [pooled(one.db, 32) for one in (base, score(other + 0.0005 * added, size))]
        right = periods_of(other + 0.005 * added) == size
        periods_found[length].append(100 * float(np.mean(right)))
        special.append(
            [
                *case,
                f"{auc(base.band_db, modulated.band_db):.3f}",
                f"{auc(*(one.db for one in with_reference)):.3f}",
                f"{auc(*pools):.3f}",
                f"{periods_found[length][-1]:.1f} %",
            ]
        )
        kinds = {"none": base}
        kinds |= {f"JPEG {q}": score(compressed(clean, q), size) for q in QUALITIES}
        for name, one in kinds.items():
            shares = [100 * np.mean(part) for part in (one.p_value < 0.01, one.detected)]
            alarms.append([*case, name, *(f"{share:.1f} %" for share in shares)])
        advance()
    return "\n\n".join(
        [
            "Area under the curve of `db`, by the amplitude of what was added:",
            table(["crops", "size", *map(str, AMPLITUDES)], found),
            "Other tasks: patterns that change sign across the image, at 0.01, by `band_db`; "
            "patterns of 0.001 in a blurred and noisy copy, with a reference; pools of 32 crops "
            "at 0.0005; and the period found by `detect_stride` at 0.005:",
            table(["crops", "size", "modulated", "reference", "pools", "period found"], special),
            "Over all sizes the period is found in "
            + " and ".join(
                f"{np.mean(share):.1f} % of the crops of {length}x{length}"
                for length, share in periods_found.items()
            )
            + ".",
            "False alarms: how many clean crops have a p-value below 0.01, and how many are "
            "`detected`:",
            table(["crops", "size", "compression", "p < 0.01", "detected"], alarms),
        ]
    )


# Lengths and size of what noise is drawn in, from the smallest that are taken.
SHAPES = (
    ((26,), 2),
    ((64,), 2),
    ((256,), 2),
    ((4096,), 2),
    ((4096,), 4),
    ((10, 10), 2),
    ((16, 16), 2),
    ((32, 32), 2),
    ((64, 64), 2),
    ((22, 22), 4),
    ((64, 64), 4),
    ((10, 10, 10), 2),
    ((16, 16, 16), 2),
    ((24, 24, 24), 2),
)
NOISES = (0.005, 0.01, 0.02, 0.05)
AMPLITUDE = 0.01


def in_noise(count: int, seed: int, advance: Callable[[], None]) -> str:
    """What is measured in white noise, with and without a pattern; `advance` as in `tables`."""
    rng = np.random.default_rng(seed)
    exact, nothing = [], []
    for lengths, size in SHAPES:
        drawn = max(64, min(count, 400_000 // math.prod(lengths)))
        case = ["x".join(map(str, lengths)), str(size)]
        noise = rng.standard_normal((drawn, *lengths, 1), dtype="float32")
        tiles = rng.standard_normal((drawn, *[size] * len(lengths)))
        axes = tuple(range(1, tiles.ndim))
        tiles -= tiles.mean(axis=axes, keepdims=True)
        tiles /= tiles.std(axis=axes, keepdims=True)
        added = tiles[(slice(None), *np.ix_(*(np.arange(n) % size for n in lengths)))][..., None]
        cells = []
        for amount in NOISES:
            found = score(0.5 + amount * noise + AMPLITUDE * added, size, rank=len(lengths))
            detected = np.mean(found.detected)
            off = np.mean(found.amplitude) / AMPLITUDE - 1
            cells.append(f"{100 * off:+.1f} %" if detected >= 0.99 else f"({detected:.0%} found)")
        exact.append(case + cells)
        clean = score(0.5 + 0.1 * noise, size, rank=len(lengths))
        means = [10 * np.log10(np.mean(10 ** (db / 10))) for db in (clean.db, clean.band_db)]
        alarms = [100 * np.mean(part) for part in (clean.p_value < 0.01, clean.detected)]
        nothing.append(
            [*case, *(f"{mean:+.1f} dB" for mean in means), *(f"{a:.1f} %" for a in alarms)]
        )
        advance()
    return "\n\n".join(
        [
            f"How far the mean amplitude of patterns of {AMPLITUDE} is off, by the noise, where at "
            "least 99 % of the draws are `detected`:",
            table(["lengths", "size", *map(str, NOISES)], exact),
            "The mean of `db` and `band_db` without a pattern, as the metric takes it, and how "
            "many draws have a p-value below 0.01, and are `detected`:",
            table(["lengths", "size", "db", "band_db", "p < 0.01", "detected"], nothing),
        ]
    )


def cost() -> str:
    """How long the score takes, beside a forward pass of a small decoder of such images."""
    layers = keras.layers
    decoder = keras.Sequential(
        [
            keras.Input((SIDE // 4, SIDE // 4, 32)),
            layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
        ]
    )
    shape = (COUNT, *decoder.input_shape[1:])
    codes = np.random.default_rng(0).normal(size=shape).astype("float32")
    images = decoder.predict_on_batch(codes)
    passes: dict[str, Callable[[], object]] = {
        "decoder": lambda: decoder.predict_on_batch(codes),
        "score": lambda: checkerboard_score(images, 2, data_format="channels_last"),
        "half": lambda: checkerboard_score(images[::2], 2, data_format="channels_last"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(4):
        for name, run in passes.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    # The first time, things are compiled.
    median = {name: float(np.median(found[1:])) for name, found in seconds.items()}
    return (
        f"The score of {COUNT} images of {SIDE}x{SIDE} takes {median['score']:.2f} s, of half as "
        f"many {median['half']:.2f} s. A decoder of three layers of 32 filters makes the {COUNT} "
        f"in {median['decoder']:.2f} s ({keras.backend.backend()})."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--crops",
        type=int,
        default=3000,
        help="of each kind; 0 leaves photographs out (default: 3000)",
    )
    parser.add_argument(
        "--draws", type=int, default=2000, help="of white noise, at most (default: 2000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the crops (default: 0)")
    parser.add_argument("--output", type=named_path, help="write the tables to this file as well")
    options = parser.parse_args(arguments)
    if 0 < options.crops < 64:
        parser.error("--crops must be 64 or more, for pools of 32, or 0")
    if options.output:
        try:
            check_writable(options.output)
        except ValueError as error:
            parser.error(f"argument --output: {error}")
    held_out = "{} crops of {} photographs by which no constant was chosen"
    tried = "{} crops of {} photographs on which the filter's form was tried"
    # Without crops nobody needs the photographs.
    names = {held_out: HELD_OUT, tried: TRIED} if options.crops else {}
    sets = {title: photographs(known) for title, known in names.items()}
    progress = keras.utils.Progbar(len(sets) * len(LENGTHS) * len(SIZES) + len(SHAPES))
    sections = [
        f"**{title.format(options.crops, len(photos))}**\n\n"
        + tables(photos, options.crops, options.seed, lambda: progress.add(1))
        for title, photos in sets.items()
    ]
    noise = in_noise(options.draws, options.seed, lambda: progress.add(1))
    sections.append(f"**White noise, {options.draws} draws at most**\n\n{noise}")
    text = "\n\n".join([*sections, "**Cost**", cost()])
    print(text)
    if options.output:
        replace_file(options.output, lambda path: path.write_text(text + "\n", encoding="utf-8"))


if __name__ == "__main__":
    main()
