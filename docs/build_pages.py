"""What mkdocs adds while it builds: the help of every command, pages that the navigation does not name, file links."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
COMMANDS = "<!-- the help of every command -->"
OUTSIDE = re.compile(r"\]\((?:\.\./)+((?:examples|benchmarks|tests|nas|hardware|predictors|search_spaces)/[\w/.]+)\)")


def on_config(config: Any) -> Any:
    """Decisions and pages that nobody placed yet come last, so that a new page is never lost."""
    placed = set(re.findall(r"[\w/]+\.md", str(config.nav)))
    docs = Path(config.docs_dir)
    pages = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    decisions = [page for page in pages if page.startswith("decisions/")]
    further = [page for page in pages if page not in placed and page not in decisions]
    config.nav = [*config.nav, *([{"Further": further}] if further else []), {"Decisions": decisions}]
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in the help of the commands; links to files of the repository become their names."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, "\n".join(_helps()))
    return OUTSIDE.sub(r"] (`\1`)", markdown)


def _helps() -> list[str]:
    main = importlib.import_module("nas.cli.main")  # nas.cli.main is also a function

    lines = []
    for name in main.COMMANDS:
        command = main.cli.get_command(click.Context(main.cli), name)
        assert command is not None
        lines += _help(command, name, click.Context(main.cli, info_name="netwright"))
    return lines


def _help(command: click.Command, name: str, parent: click.Context) -> list[str]:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
    lines = [
        f"## netwright {context.command_path.partition(' ')[2]}",
        "",
        "```text",
        command.get_help(context),
        "```",
        "",
    ]
    for sub, found in getattr(command, "commands", {}).items():
        lines += _help(found, sub, context)
    return lines
