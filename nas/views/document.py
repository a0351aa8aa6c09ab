"""The page of a run as one file: the service's own page, with the views that it would ask for inside."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nas.run import Run
from nas.views.candidate import candidate
from nas.views.devices import devices
from nas.views.overview import finalists, listing, overview
from nas.views.predictors import predictors
from nas.views.scatter import pareto, scatter

STATIC = Path(__file__).resolve().parents[1] / "service" / "static"
MOST = 120  # candidates with a page of their own
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([a-z_]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function|const|let|class) ([A-Za-z_]\w*)", re.MULTILINE)


def write_page(run: Run, path: Path) -> Path:
    """Write the page of a run, finished or not; an older one there is replaced, whole or not at all.

    Args:
        run: open for reading.
        path: of the HTML file.
    Returns: the path.
    Raises: RunFileError: the run file is damaged; OSError: the file cannot be written.
    """
    path = Path(path)
    text = document(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None
    return path


def document(run: Run) -> str:
    """The HTML text; it asks nobody for anything."""
    name = run.directory.name
    held = json.dumps({"run": name, "views": embedded(run)}, allow_nan=False).replace("<", "\\u003c")
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    style = (STATIC / "page.css").read_text(encoding="utf-8")
    icon = quote((STATIC / "icon.svg").read_text(encoding="utf-8"))
    html = html.replace('href="static/icon.svg"', f'href="data:image/svg+xml,{icon}"')
    html = html.replace('<link rel="stylesheet" href="static/page.css">', f"<style>\n{style}</style>")
    html = html.replace('<script type="module" src="static/app.js"></script>\n', "")
    scripts = f'<script type="application/json" id="views">{held}</script>\n<script>\n{bundle("app")}</script>\n'
    return html.replace("</body>", f"{scripts}</body>")


def embedded(run: Run) -> dict[str, Any]:
    """The views by the path that the page asks for."""
    at = f"runs/{quote(run.directory.name, safe='')}"
    front = [row["id"] for row in pareto(run)["rows"]]
    chosen = [row["id"] for row in finalists(run)]
    ids = list(dict.fromkeys([*chosen, *front]))[:MOST]
    views: dict[str, Any] = {
        "runs": {"runs": [listing(run)]},
        at: overview(run),
        f"{at}/scatter": scatter(run),
        f"{at}/predictors": predictors(run),
        "devices": devices(),
    }
    return views | {f"{at}/candidates/{i}": candidate(run, i) for i in ids}


def bundle(entry: str) -> str:
    """The page's modules as one script without imports: each becomes a function that gives what it exports."""
    return "".join(_wrapped(name) for name in _in_order(entry, []))


def _in_order(name: str, seen: list[str]) -> Iterator[str]:
    """A module after those that it imports."""
    if name in seen:
        return
    seen.append(name)
    for _, needed in _IMPORT.findall(_source(name)):
        yield from _in_order(needed, seen)
    yield name


def _wrapped(name: str) -> str:
    text = _source(name)
    exported = ", ".join(found for _, found in _EXPORT.findall(text))
    text = _IMPORT.sub(lambda match: f"const {{{match[1].replace(' as ', ': ')}}} = module_{match[2]};", text)
    text = _EXPORT.sub(r"\1 \2", text)
    return f"const module_{name} = (() => {{\n{text}\nreturn {{ {exported} }};\n}})();\n"


def _source(name: str) -> str:
    return (STATIC / f"{name}.js").read_text(encoding="utf-8")
