"""`bench --programs`: times whole training steps of published architectures."""

from __future__ import annotations

import argparse
import json

import keras

from keras_upsampling.bench.architectures import ARCHITECTURES
from keras_upsampling.bench.report import facts
from keras_upsampling.bench.training import TrainingResult, measure_training
from keras_upsampling.bench.training_report import report
from keras_upsampling.commands.streams import aside, publish, reason, say


def add(parser: argparse.ArgumentParser) -> None:
    """Add the option to those of `bench`."""
    group = parser.add_argument_group(
        "whole programs",
        "Instead of the grid, time the forward pass and the training step of published "
        "architectures, with UpSampling + Conv, with UpsampleConv and with ConvTranspose.",
    )
    group.add_argument(
        "--programs",
        choices=tuple(ARCHITECTURES),
        nargs="*",
        metavar="NAME",
        help=f"time these architectures, or all: {', '.join(ARCHITECTURES)}",
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; return the exit code."""
    names = list(dict.fromkeys(options.programs)) or list(ARCHITECTURES)
    dtype = (options.dtype or ["float32"])[0]
    engine = keras.backend.backend() + ("-xla" if options.jit_compile else "")
    results: list[TrainingResult] = []
    failures: list[str] = []  # printed after the progress bar
    code = 0
    try:
        with aside():
            progress = keras.utils.Progbar(len(names), unit_name="architecture")
            progress.update(0)
            for i, name in enumerate(names):
                try:
                    results.append(
                        measure_training(
                            name,
                            dtype=dtype,
                            seconds=options.seconds or 2.0,
                            engine=engine,
                        )
                    )
                except Exception as error:  # such as a dtype that a backend cannot train in
                    failures.append(f"{name}: {reason(error)}")
                progress.update(i + 1)
    except KeyboardInterrupt:
        say(f"Interrupted after {len(results)} of {len(names)} architectures.")
        code = 130
    finally:
        for failure in failures:
            say(failure)
            code = code or 1
        if results and not _publish(results, engine, dtype, options.json):
            code = code or 1
    return code


def _publish(results: list[TrainingResult], engine: str, dtype: str, file: str | None) -> bool:
    conditions = {"engine": engine, "dtype": dtype}
    records = [result.as_record() for result in results]
    figures = json.dumps({"facts": facts(), **conditions, "programs": records}, indent=1)
    return publish(report(results, conditions), figures, file)
