"""The results of `score` and `merge`: a table and a summary, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from keras_upsampling._tables import by, table
from keras_upsampling.commands.scoring.states import state_text
from keras_upsampling.commands.scoring.tally import Row, Tally
from keras_upsampling.commands.streams import publish, save, say


def publish_results(tally: Tally, *, json_file: str | None, state_file: str | None) -> int:
    """Print the failures and the results, write the files; return the exit code.

    The code is 0 if all images were measured and all files were written, and 1 otherwise.

    Raises:
        BrokenPipeError: As in `publish`. The files are written first.
    """
    for failure in tally.failures:
        say(f"{failure.file}: {failure.reason}")
    if unnamed := tally.failed - len(tally.failures):
        say(f"{unnamed} more could not be measured")
    written = state_file is None or save(state_file, state_text(tally))
    written &= publish(_text(tally) if tally.images else "", _figures(tally), json_file)
    return 0 if written and not tally.failed else 1


def _figures(tally: Tally) -> str:
    figures = {
        "keras_upsampling": tally.settings.version,
        "size": tally.settings.size,
        "complete": not tally.interrupted and not tally.missing(),
        "summary": tally.summary(),
        "results": [row.record() for row in tally.rows()],
        "failures": [failure.record() for failure in tally.failures],
    }
    return json.dumps(figures, indent=1)


def _text(tally: Tally) -> str:
    """Return a table in Markdown, and a line with the summary."""
    rows, summary = tally.rows(), tally.summary()
    images = "1 image" if tally.images == 1 else f"{tally.images} images"
    text = (
        f"{_table(rows)}\n\n{images}, mean {summary['db']:.2f} dB, "
        f"{summary['detection_rate']:.1%} detected"
    )
    if tally.images > len(rows):
        text += f"\nThe table has the {len(rows)} with the strongest patterns, the strongest first."
        if strides := summary.get("strides"):
            counts = ", ".join(f"{stride} in {count}" for stride, count in strides.items())
            text += f"\nStrides of all images: {counts}."
    return text


def _table(rows: Sequence[Row]) -> str:
    head = ["file", "shape", "db", "amplitude", "band_db", "p_value", "detected"]
    cells = [
        [
            row.file,
            by(row.shape),
            f"{row.db:.2f}",
            f"{row.amplitude:.3g}",
            f"{row.band_db:.2f}",
            f"{row.p_value:.2g}",
            "yes" if row.detected else "no",
        ]
        for row in rows
    ]
    if rows[0].stride is not None:
        head.append("stride")
        for row_cells, row in zip(cells, rows, strict=True):
            row_cells.append(str(row.stride))
    return table(head, cells)
