"""States: files with the tally of a run, which `merge` reads."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

from keras_upsampling.commands.files import reading_error
from keras_upsampling.commands.scoring.shares import Part
from keras_upsampling.commands.scoring.tally import Failure, Row, Settings, Tally

_FORMAT = "keras_upsampling.score.state"
_VERSION = 1


def state_text(tally: Tally) -> str:
    """Return the text of the state of a tally."""
    state = {
        "settings": tally.settings._asdict(),
        "parts": [[part.paths, part.shares, sorted(part.numbers)] for part in tally.parts],
        "interrupted": tally.interrupted,
        "images": tally.images,
        "failed": tally.failed,
        "detections": tally.detections,
        "ratios": str(tally.ratios),
        "squares": str(tally.squares),
        "strides": {str(stride): n for stride, n in sorted(tally.strides.items())},
        "results": [row.record() for row in tally.rows()],
        "failures": [failure.record() for failure in tally.failures],
    }
    return json.dumps(
        {"format": _FORMAT, "version": _VERSION, "digest": _digest(state), "state": state}
    )


def tally_of(text: str) -> Tally:
    """Return the tally of which a state was written.

    Raises:
        ValueError: If the text is not a state, or a state of another version of the format, or is
            damaged.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ValueError(
            "expected a state that `score --state` has written. Received: another file, or only a "
            "part of one. Score the images again"
        )
    if document.get("version") != _VERSION:
        raise ValueError(
            f"expected a state in version {_VERSION} of the format. Received: version "
            f"{document.get('version')!r}. Use the same version of keras_upsampling for all"
        )
    state: Any = document.get("state")
    # What has the digest is what `state_text` wrote, so that its fields need no checks.
    if document.get("digest") != _digest(state):
        raise ValueError("the state is damaged: its digest differs. Score the images again")
    settings = Settings(**{**state["settings"], "size": tuple(state["settings"]["size"])})
    tally = Tally(
        settings,
        [
            Part(tuple(paths), shares, frozenset(numbers))
            for paths, shares, numbers in state["parts"]
        ],
    )
    tally.interrupted = state["interrupted"]
    tally.images, tally.failed = state["images"], state["failed"]
    tally.detections = state["detections"]
    tally.ratios = Fraction(state["ratios"])
    tally.squares = Fraction(state["squares"])
    tally.strides = Counter({int(stride): n for stride, n in state["strides"].items()})
    tally.failures = [Failure(**failure) for failure in state["failures"]]
    tally.kept = [
        Row(**{"stride": None, **row, "shape": tuple(row["shape"])}) for row in state["results"]
    ]
    return tally


def read_state(path: Path) -> Tally:
    """Return the tally that a file holds.

    Raises:
        ValueError: As in `tally_of`, or if the path is not that of a file that can be read.
    """
    error = reading_error(path)  # opening a pipe would block
    if error:
        raise ValueError(error)
    return tally_of(path.read_text(encoding="utf-8", errors="replace"))


def _digest(state: Any) -> str:
    return hashlib.blake2b(json.dumps(state).encode(), digest_size=16).hexdigest()
