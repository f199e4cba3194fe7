import importlib.util
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import keras_upsampling

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


def test_files_are_included_by_marks_that_work():
    # A formatter takes the mark for Python in a fence that begins with ```py.
    assert not [page for page in PAGES if "--8 <" in page.read_text(encoding="utf-8")]


def api_pages():
    """Return the module that writes the pages of the reference."""
    spec = importlib.util.spec_from_file_location("api_pages", ROOT / "docs" / "api_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def public_objects():
    """Return every public object by the title of its page."""
    from keras_upsampling import plots

    objects = {name: getattr(keras_upsampling, name) for name in keras_upsampling.__all__}
    top = {id(value) for value in objects.values()}
    namespaces = {**vars(keras_upsampling), "plots": plots}
    for namespace, module in namespaces.items():
        if isinstance(module, types.ModuleType) and hasattr(module, "__all__"):
            objects |= {
                f"{namespace}.{name}": getattr(module, name)
                for name in module.__all__
                if id(getattr(module, name)) not in top
            }
    return objects


def nav():
    """Return title and file of every entry of the navigation in mkdocs.yml."""
    section = re.search(r"^nav:\n((?:[ ]+.*\n|\n)*)", MKDOCS, re.MULTILINE)[1]
    return dict(re.findall(r"^[ ]+- ([^:\n]+): (\S+)$", section, re.MULTILINE))


def test_every_public_name_has_a_page_of_its_own():
    pages = {
        title: text for section in api_pages().pages().values() for title, text in section.items()
    }
    assert pages.keys() == public_objects().keys()
    for title, text in pages.items():
        assert text.startswith(f"::: keras_upsampling.{title}\n")
        assert "options:" in text


def test_the_reference_shows_methods_that_there_are():
    objects = public_objects()
    for title, methods in api_pages().METHODS.items():
        assert all(callable(getattr(objects[title], method)) for method in methods)


def test_every_note_is_on_a_page():
    module = api_pages()
    text = "".join(text for section in module.pages().values() for text in section.values())
    assert all(note in text for note in module.NOTES.values())


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
