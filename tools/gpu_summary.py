"""The summary of the figures of `gpu_check.py`, in Markdown: `python tools/gpu_summary.py FILE`."""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path


def summary(content):
    """Return the tables of a file's content."""
    parts = [
        ("Machines", machines(content)),
        ("Exactness: largest error, relative to the largest number", exactness(content)),
        ("Gain: time of resize over time of the method, geometric means", gains(content)),
        ("Memory: peak of resize over peak of the method, geometric means", memory(content)),
        ("Determinism: cases with equal gradients in all runs", determinism(content)),
        ("What a fit would have", fits(content)),
        ("Failures", failures(content)),
    ]
    return "\n\n".join(f"### {title}\n\n{text or 'None.'}" for title, text in parts)


def table(head, rows):
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    escaped = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in escaped) if rows else ""


def grid(cells, labels):
    """Return a table with a column for each method; `cells` are keyed by `(*label, method)`."""
    methods = list(dict.fromkeys(key[-1] for key in cells))
    rows = dict.fromkeys(key[:-1] for key in cells)
    lines = [[*row, *(cells.get((*row, method), "") for method in methods)] for row in rows]
    return table([*labels, *methods], sorted(lines, key=lambda line: line[: len(labels)]))


def machines(content):
    """Return the facts of every worker."""
    rows = [
        [name, ", ".join(f"{key} {value}" for key, value in hello["facts"].items())]
        for name, hello in content.get("workers", {}).items()
    ]
    return table(["worker", "facts"], rows)


def exactness(content):
    """Return the largest errors of every method."""
    worst = defaultdict(float)
    for record in content["exactness"]:
        for name, error in record["errors"].items():
            case = record["case"]
            kind = "values" if name == "output" else "gradients"
            key = record["engine"], case["dtype"], case["data_format"], kind, record["method"]
            worst[key] = max(worst[key], error)
    cells = {key: f"{error:.1e}" for key, error in worst.items()}
    return grid(cells, ["backend", "dtype", "data format", "of"])


def grouped(content):
    """Yield every timed record with its label."""
    for measured in content["measurements"]:
        tf32 = measured["facts"].get("TF32", "default")
        for record in measured["cases"]:
            case = record["case"]
            yield (measured["engine"], case["dtype"], tf32, case["data_format"]), record


def ratios(content, name):
    """Return the geometric means of the ratios of resize to every method, by label and pass."""
    found, cases = defaultdict(list), defaultdict(int)
    for label, record in grouped(content):
        numbers = record[name]
        row = *label, record["pass"]
        cases[row] += 1
        for method, number in numbers.items():
            if method != "chosen" and number and numbers.get("resize"):
                found[row, method].append(numbers["resize"] / number)
    cells = {
        (*row, cases[row], method): f"{statistics.geometric_mean(values):.2f}"
        for (row, method), values in found.items()
    }
    return grid(cells, ["backend", "dtype", "TF32", "data format", "pass", "cases"])


def gains(content):
    """Return how much faster than `resize` the methods are, where they are possible."""
    return ratios(content, "seconds")


def memory(content):
    """Return how much less memory than `resize` the methods need, where they are possible."""
    return ratios(content, "peak_bytes")


def determinism(content):
    """Return in how many cases all runs were equal."""
    found = defaultdict(list)
    for record in content["determinism"]:
        switch = "deterministic" if record["flagged"] else "default"
        case = record["case"]
        key = record["engine"], switch, case["interpolation"], case["dtype"], record["method"]
        found[key].append(record["equal"])
    cells = {key: f"{sum(equal)} of {len(equal)}" for key, equal in found.items()}
    return grid(cells, ["backend", "switch", "interpolation", "dtype"])


def fits(content):
    """Return whether there are cases enough, and all methods, to fit rates."""
    needed = {
        name.split()[0]: hello["needed_for_a_fit"]
        for name, hello in content.get("workers", {}).items()
    }
    cases, methods = defaultdict(set), defaultdict(set)
    for label, record in grouped(content):
        cases[label].add(json.dumps(record["case"]))
        methods[label] |= set(record["seconds"])
    rows = []
    for label in sorted(cases):
        wanted = needed.get(label[0].removesuffix("-xla"), {"cases": 0, "methods": []})
        reasons = [f"no {name}" for name in wanted["methods"] if name not in methods[label]]
        if len(cases[label]) < wanted["cases"]:
            reasons.append(f"fewer than {wanted['cases']} cases")
        rows.append([*label, len(cases[label]), "; ".join(reasons) or "enough"])
    return table(["backend", "dtype", "TF32", "data format", "cases", "for a fit"], rows)


def failures(content):
    """Return what failed, each error once with its number."""
    found = defaultdict(int)
    for record in content["failures"]:
        what = record.get("kind") or record.get("task", {}).get("kind", "")
        who = record.get("engine") or record.get("worker")
        switch = "deterministic" if record.get("flagged") else ""
        found[who, what, record.get("method", ""), switch, record["error"][:300]] += 1
    rows = [[*key, number] for key, number in found.items()]
    return table(["backend", "task", "method", "switch", "error", "how often"], rows)


if __name__ == "__main__":
    print(summary(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
