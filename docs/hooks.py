"""Keeps the site whole and on its own: every link leads somewhere, nothing is fetched elsewhere."""

from __future__ import annotations

import logging
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

log = logging.getLogger(
    "mkdocs.hooks.docs"
)  # below `mkdocs`: --strict counts its warnings

# Where a browser fetches from on its own; `href` of `a` is for the reader to follow.
_FETCHED = {
    ("audio", "src"), ("embed", "src"), ("iframe", "src"), ("img", "src"), ("link", "href"),
    ("object", "data"), ("script", "src"), ("source", "src"), ("video", "src"),
}  # fmt: skip

# What notebook pages bring along for formulas and diagrams, from another host; ours have none.
_SCRIPT = re.compile(r"<script\b[^>]*>.*?</script>", re.DOTALL)
_UNUSED = re.compile(r"mathjax|mermaid", re.IGNORECASE)


def on_startup(**_) -> None:
    """Let the notebook show its figures, and not TensorFlow's start-up notes."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # Whatever the caller has set, say for a machine without a screen: figures go on the page.
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"


def on_page_content(html: str, page, **_) -> str:
    """Drop the scripts for formulas and diagrams from notebook pages; miss no figure."""
    if page.file.src_uri.endswith(".md"):
        return html
    drawn = Path(page.file.abs_src_path).read_text("utf-8").count("plt.show()")
    shown = html.count('src="data:image/png')
    if shown < drawn:
        log.warning(
            "%s: %d figures were drawn and %d are on the page",
            page.file.src_uri,
            drawn,
            shown,
        )
    return _SCRIPT.sub(
        lambda match: "" if _UNUSED.search(match[0]) else match[0], html
    )


def on_post_build(config, **_) -> None:
    """Warn, which fails a strict build, of dead links and of requests to other hosts."""
    site = Path(config["site_dir"]).resolve()
    pages = {path: _Page(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        if path.name == "404.html":  # its links are absolute, for a server
            continue
        for tag, attribute, url in page.urls:
            problem = _problem(tag, attribute, url, path, site, pages)
            if problem:
                log.warning(
                    "%s: <%s %s=%r> %s",
                    path.relative_to(site),
                    tag,
                    attribute,
                    url,
                    problem,
                )
        if re.search(r"\bimport\(\s*[\"']https?:", page.text):
            log.warning(
                "%s imports a script from another host", path.relative_to(site)
            )
    for path in sorted(site.rglob("*.css")):
        _check_style(path.read_text(encoding="utf-8"), path.relative_to(site))
    for path, page in pages.items():
        for style in re.findall(
            r"<style\b[^>]*>(.*?)</style>", page.text, re.DOTALL
        ):
            _check_style(style, path.relative_to(site))


class _Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.urls: list[tuple[str, str, str]] = []
        self.anchors: set[str] = set()
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(
        self, tag: str, attrs: list[tuple[str, str | None]]
    ) -> None:
        for name, value in attrs:
            if name in ("href", "src", "data") and value is not None:
                self.urls.append((tag, name, value))
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value or "")


def _problem(
    tag: str,
    attribute: str,
    url: str,
    path: Path,
    site: Path,
    pages: dict[Path, _Page],
) -> str | None:
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        outside = parts.scheme != "data" and (tag, attribute) in _FETCHED
        return "is fetched from another host" if outside else None
    target, anchor = urldefrag(unquote(url))
    file = (path.parent / target.split("?")[0]).resolve() if target else path
    if not file.is_relative_to(site):
        return "leads out of the site"
    if file.is_dir():
        file /= "index.html"
    if not file.exists():
        return "leads nowhere"
    if (
        anchor
        and file in pages
        and not anchor.startswith("__")
        and anchor not in pages[file].anchors
    ):
        return "names an anchor that is not there"
    return None


def _check_style(text: str, name: Path) -> None:
    for url in re.findall(
        r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)", text
    ):
        log.warning("%s: a style fetches %s", name, url)
