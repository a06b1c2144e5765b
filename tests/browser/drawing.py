"""A report as a forge shows it: GFM rendered, Mermaid drawn by the real library, in Chromium.

`python -m tests.browser.drawing report.md shot.png [--dark] [--width 420] [--open]` takes a picture
of a Markdown file, or of a page of HTML. It needs `chromium`, and what `make browser` installs.
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt

HERE = Path(__file__).resolve().parent
MODULES = HERE / "node_modules"
MERMAID = MODULES / "mermaid/dist/mermaid.min.js"
STYLES = MODULES / "github-markdown-css"
SETTLE = 20_000  # milliseconds of the page's own time, which passes faster than ours
DRAW = """
mermaid.initialize({startOnLoad: false, securityLevel: "strict", theme: "THEME"});
(async () => {
  const folded = [...document.querySelectorAll("details")].filter(one => !one.open);
  for (const one of folded) one.open = true;  // what is folded has no size to be drawn in
  let failed = 0;
  for (const [number, code] of document.querySelectorAll("code.language-mermaid").entries()) {
    try {
      const drawn = await mermaid.render(`drawn${number}`, code.textContent);
      const figure = document.createElement("figure");
      figure.className = "drawn";
      figure.innerHTML = drawn.svg;
      code.parentElement.replaceWith(figure);
    } catch (error) {
      failed += 1;
      code.parentElement.dataset.error = String(error);
    }
  }
  if (!OPEN) for (const one of folded) one.open = false;
  document.body.dataset.done = failed ? "failed" : "drawn";
})();
"""


def missing() -> str:
    """Return what is not installed, empty when all is there."""
    if shutil.which("chromium") is None:
        return "chromium is not installed (apt install chromium)"
    return "" if MERMAID.exists() else "the mermaid library is not installed (make browser)"


def forge_page(markdown: str, *, dark: bool = False, unfolded: bool = True) -> str:
    """Return a page that shows Markdown as a forge does, in its light or dark style."""
    body = MarkdownIt("gfm-like", {"linkify": False}).render(markdown)
    theme = "dark" if dark else "light"
    style = (STYLES / f"github-markdown-{theme}.css").read_text()
    script = DRAW.replace("THEME", "dark" if dark else "default")
    script = script.replace("OPEN", "true" if unfolded else "false")
    frame = "body{margin:0;padding:24px} .drawn{margin:0 0 16px} .drawn svg{max-width:100%}"
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><style>{style}{frame}</style></head>'
        f'<body class="markdown-body">{body}<script src="{MERMAID.as_uri()}"></script>'
        f"<script>{script}</script></body></html>"
    )


def dom(page: str) -> str:
    """Return the page's HTML after its scripts have run."""
    return _chromium(page, "--dump-dom")


def screenshot(page: str, target: Path, *, width: int = 1000, height: int = 1400) -> None:
    """Write a picture of the page as it is drawn."""
    _chromium(page, f"--screenshot={target}", f"--window-size={width},{height}")


def _chromium(page: str, *options: str) -> str:
    with tempfile.TemporaryDirectory(prefix="clew-") as folder:
        file = Path(folder) / "page.html"
        file.write_text(page)
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu"]
        command += [f"--user-data-dir={folder}/profile", "--hide-scrollbars", *options]
        command += ["--allow-file-access-from-files", f"--virtual-time-budget={SETTLE}"]
        done = subprocess.run(
            [*command, file.as_uri()], check=True, capture_output=True, text=True, timeout=120
        )
        return done.stdout


def errors(drawn: str) -> list[str]:
    """Return what the Mermaid library said of the plots that it refused."""
    return [html.unescape(said) for said in re.findall(r'data-error="([^"]*)"', drawn)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--open", action="store_true")
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--height", type=int, default=1400)
    given = parser.parse_args()
    text = given.report.read_text()
    if given.report.suffix == ".html":
        page = text.replace("<details>", "<details open>") if given.open else text
        if given.dark:
            page = page.replace("(prefers-color-scheme: dark)", "all")
    else:
        page = forge_page(text, dark=given.dark, unfolded=given.open)
    screenshot(page, given.target, width=given.width, height=given.height)


if __name__ == "__main__":
    main()
