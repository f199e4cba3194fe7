import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_upsampling
import keras_upsampling.ops

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("README.md"), *(ROOT / "docs").rglob("*.md")])
MKDOCS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

FENCE = re.compile(r"^([ ]*)```python[^\n]*\n(.*?)^\1```[ ]*$", re.DOTALL | re.MULTILINE)


def python_blocks(page):
    """Return the page's Python as one program, every line where it stands on the page."""
    text = page.read_text(encoding="utf-8")
    program = []
    for block in FENCE.finditer(text):
        indent = len(block[1])
        program += [""] * (text.count("\n", 0, block.start(2)) - len(program))
        program += [line[indent:] for line in block[2].splitlines()]
    return "\n".join(program)


WITH_PYTHON = [page for page in PAGES if python_blocks(page).strip()]


def test_the_front_pages_show_python():
    assert {ROOT / "README.md", ROOT / "docs/index.md"} <= set(WITH_PYTHON)


# Warnings are errors once the backend is imported, but for the one that Keras itself causes.
PRELUDE = """
import keras, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword")
"""


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_on_a_page_runs(page, tmp_path):
    # A process of its own: a page must import what it uses.
    run = f"exec(compile({python_blocks(page)!r}, {str(page)!r}, 'exec'), {{}})"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        [sys.executable, "-c", PRELUDE + run],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


def test_code_fences_are_closed():
    for page in PAGES:
        fences = re.findall(r"^[ ]*```", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) % 2 == 0, page


PUBLIC = {
    **{name: f"keras_upsampling.{name}" for name in keras_upsampling.__all__},
    # The function shares its name with the module that holds it, and the module would win.
    **{
        f"ops.{name}": f"keras_upsampling.ops.{name}.{name}"
        for name in keras_upsampling.ops.__all__
    },
    # And so do these.
    "audit": "keras_upsampling.audit.audit",
    "autoencoder": "keras_upsampling.models.autoencoder.autoencoder",
    "repair": "keras_upsampling.repair.repair",
    "constraints.CheckerboardFree": "keras_upsampling.constraints.CheckerboardFree",
    "initializers.ICNR": "keras_upsampling.initializers.ICNR",
    "models.Autoencoder": "keras_upsampling.models.Autoencoder",
    "models.VariationalAutoencoder": "keras_upsampling.models.VariationalAutoencoder",
    "metrics.Checkerboard": "keras_upsampling.metrics.Checkerboard",
    "plots.audit": "keras_upsampling.plots.audit",
    "plots.image": "keras_upsampling.plots.image",
    "plots.overlap": "keras_upsampling.plots.overlap",
}


def nav():
    """Return title and file of every entry of the navigation in mkdocs.yml."""
    section = re.search(r"^nav:\n((?:[ ]+.*\n|\n)*)", MKDOCS, re.MULTILINE)[1]
    return dict(re.findall(r"^[ ]+- ([^:\n]+): (\S+)$", section, re.MULTILINE))


@pytest.mark.parametrize(("name", "path"), PUBLIC.items())
def test_every_public_name_has_a_page_in_the_navigation(name, path):
    page = ROOT / "docs" / nav()[name]
    assert f"::: {path}\n" in page.read_text(encoding="utf-8")


def test_every_api_page_is_of_a_public_name():
    pages = {page.stem for page in (ROOT / "docs/api").glob("*.md")}
    assert pages == set(PUBLIC)


def test_the_navigation_names_files_that_exist():
    for file in nav().values():
        assert (ROOT / "docs" / file).is_file(), file


def test_the_site_asks_no_other_host():
    assert not re.search(r"https?:|//[a-z]", re.sub(r"(^|\s)#.*", "", MKDOCS))
    assert "font: false" in MKDOCS
    assert "repo_url:" not in MKDOCS
    for file in (ROOT / "docs/assets").iterdir():
        if file.suffix in {".css", ".js"}:
            assert not re.search(r"https?://", file.read_text(encoding="utf-8")), file
