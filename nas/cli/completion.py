"""``netwright completion``, and what completes run folders, spaces, scores and devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

DEEP = 2  # run folders are looked for so many folders down
MOST = 200  # of them
_HOW = {
    "bash": 'eval "$(netwright completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(netwright completion zsh)"   # in ~/.zshrc, after compinit',
    "fish": "netwright completion fish > ~/.config/fish/completions/netwright.fish",
}


@click.command(epilog="\b\n" + "\n".join(_HOW.values()))
@click.argument("shell", type=click.Choice(list(_HOW)), required=False)
def completion(shell: str | None) -> None:
    """Print the script that completes netwright's commands, options, runs, spaces, scores and devices in SHELL."""
    from nas.cli.main import COMPLETING, cli

    if shell is None:
        raise click.UsageError(f"missing SHELL: expected one of {', '.join(_HOW)}")
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"{shell}: unknown to click; expected one of {', '.join(_HOW)}")
    script = kind(cli, {}, "netwright", COMPLETING)
    click.echo(script.source_template % script.source_vars())


def completed(command: click.Command) -> click.Command:
    """The command whose arguments and options, and those of its subcommands, offer what there is."""
    for sub in command.commands.values() if isinstance(command, click.Group) else ():
        completed(sub)
    for parameter in command.params:
        names = next((NAMES[option] for option in (*parameter.opts, parameter.name) if option in NAMES), None)
        of_torch = (getattr(parameter, "help", None) or "").startswith("cpu, cuda")  # a --device of another kind
        if names is not None and not of_torch:
            parameter.shell_complete = partial(_items, names)  # type: ignore[method-assign]
    return command


def _items(names: Callable[[str], Iterable[str]], context: click.Context, typed: str) -> list[CompletionItem]:
    """The names that begin as what was typed; never fails."""
    try:
        return [CompletionItem(name) for name in names(typed) if name.startswith(typed)]
    except Exception:  # noqa: BLE001 - a traceback in the middle of typing helps nobody
        return []


def run_folders(typed: str) -> list[str]:
    """Folders that hold a run, below what was typed or here; then plain folders to go on from."""
    from nas.store import FILE_NAME
    from nas.store.pointer import POINTER_NAME

    start = Path(typed).expanduser() if typed.endswith("/") else Path(typed).expanduser().parent
    patterns = ("*/" * depth + name for depth in range(DEEP + 1) for name in (FILE_NAME, POINTER_NAME))
    files = chain.from_iterable(start.glob(pattern) for pattern in patterns)
    runs = [str(path.parent) for _, path in zip(range(MOST), files, strict=False)]
    folders = [f"{path}/" for path in start.iterdir() if path.is_dir() and str(path) not in runs]
    return sorted(run for run in runs if run != ".") + sorted(folders)


def space_names(typed: str) -> list[str]:
    """Names of spaces."""
    from search_spaces import SPACES

    return list(SPACES)


def score_names(typed: str) -> list[str]:
    """Names of scores."""
    from nas.objective import BINAS, PREDICTOR, SCORES

    return [*SCORES, PREDICTOR, BINAS]


def device_names(typed: str) -> list[str]:
    """Runtimes that are installed here, devices with a table, data sheets."""
    from hardware.analytic_devices import ANALYTIC_DEVICES
    from hardware.device_store import stored_devices
    from hardware.runtimes import RUNTIMES, missing

    here = [name for name in RUNTIMES if name != "command" and not missing(name)]
    return list(dict.fromkeys([*here, *stored_devices(), *ANALYTIC_DEVICES]))


def callback_names(typed: str) -> list[str]:
    """Names of callbacks."""
    from nas.callbacks import CALLBACKS

    return list(CALLBACKS)


NAMES: Mapping[str | None, Callable[[str], Iterable[str]]] = {
    "run": run_folders,
    "--space": space_names,
    "--score": score_names,
    "--device": device_names,
    "--callback": callback_names,
}
"""What completes an option, or an argument of that name."""
