"""The command group, loaded lazily so that help is instant, and the one place where errors become one line."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

USAGE, INFEASIBLE, MISSED, INTERRUPTED = 2, 3, 4, 130
COMPLETING = "_NETWRIGHT_COMPLETE"  # in the environment while a shell asks for completions
_PACKAGES = ("nas", "search_spaces", "predictors", "hardware")

COMMANDS = {  # name: (module, one line of help); the module is imported when the command runs
    "init": ("nas.cli.init", "Write a configuration file with every setting explained."),
    "doctor": ("nas.cli.doctor", "Check what this machine can do and how far its timings can be trusted."),
    "space": ("nas.cli.space", "List, show and check search spaces."),
    "score": ("nas.cli.score", "Costs and zero-shot score of one architecture."),
    "proxies": ("nas.cli.proxies", "The training-free scores, and how far to trust them on your space and data."),
    "fit": ("nas.cli.fit", "Learn to predict accuracy from a table of labelled networks, and judge it honestly."),
    "predict": ("nas.cli.predict", "Predict the networks of a table, with intervals and a warning of unknown ones."),
    "predictor": ("nas.cli.predictor", "What a predictor is worth, on one page; predictors that there are."),
    "profile": ("nas.cli.profile", "Build the latency table of a space on this device."),
    "device": ("nas.cli.device", "Devices whose latencies are known: list, show, export, add."),
    "runtimes": ("nas.cli.runtimes", "What can run a network here, and how to get what is not installed."),
    "plugins": ("nas.cli.plugins", "What installed packages add: spaces, scores, predictors, runtimes."),
    "measure": ("nas.cli.measure", "Time networks on this device, honestly."),
    "compare": ("nas.cli.compare", "Say which of two networks is faster, or on which of two devices one is."),
    "lint": ("nas.cli.lint", "What in a network is slow on a device for no good reason, and what each fix gains."),
    "rules": ("nas.cli.rules", "Which kind of block each stage should use on a GPU, with the evidence."),
    "rank": ("nas.cli.rules", "How much of its rank every trained convolution uses."),
    "search": ("nas.cli.search", "Search, train, export and verify a network under a budget."),
    "resume": ("nas.cli.search", "Go on with an interrupted run."),
    "status": ("nas.cli.runs", "How far a run is."),
    "pareto": ("nas.cli.runs", "The candidates of a run that no other beats in score and latency."),
    "best": ("nas.cli.runs", "The best candidate of a run within further limits."),
    "llr": ("nas.cli.llr", "Choose a network from single changes to a trained master, under a latency budget."),
    "train": ("nas.cli.train", "Train one architecture on a dataset."),
    "tune": ("nas.cli.tune", "Find a better recipe for training one architecture, and say how much better it is."),
    "supernet": ("nas.cli.supernet", "Train all networks of a space in one set of weights, judge them, take them out."),
    "compress": ("nas.cli.compress", "Make a trained network smaller and faster, and measure by how much."),
    "disparse": ("nas.cli.disparse", "Train one sparse network for two tasks."),
    "detect": ("nas.cli.detect", "Train, evaluate and export a small detector on any backbone."),
    "export": ("nas.cli.export", "Write a network as ONNX, safetensors and a stand-alone Python file."),
    "verify": ("nas.cli.export", "Measure an exported network against a latency budget."),
    "report": ("nas.cli.runs", "Write the offline HTML report of a run."),
    "serve": ("nas.cli.serve", "Serve searches over HTTP, with a page to launch and watch them."),
    "page": ("nas.cli.page", "Write the service's page of a run as one offline HTML file."),
    "export-study": ("nas.cli.export_study", "Mirror the best candidates of a run for optuna-dashboard."),
    "completion": ("nas.cli.completion", "Print the script that completes commands in your shell."),
}


class LazyGroup(click.Group):
    """Imports a command's module only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[name][0]), name.replace("-", "_"))
        if COMPLETING in os.environ:
            from nas.cli.completion import completed

            return completed(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of the table and options, without importing anything."""
        names = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Suggest the nearest command for a misspelt one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx) from None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="netwright", prog_name="netwright")
def cli() -> None:
    """Design neural networks for a device and a latency budget, and measure that they keep it.

    Example: netwright search --data digits --latency 0.3ms --out runs/digits

    Exit codes: 0 done, 2 wrong input, 3 nothing keeps the limits, 4 the budget is missed on verification, 130 stopped
    by the user (the run can be resumed).
    """


def main() -> None:
    """Run the command line; every foreseen error is one line on stderr, also when Ctrl-C is pressed once more."""
    try:
        code = _run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what ends with the process ends undisturbed
    sys.exit(code)


def _run() -> int:
    try:
        code = cli.main(sys.argv[1:] or ["--help"], standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):  # click turns the second into the first
        click.echo("netwright: stopped by Ctrl-C, or by a KeyboardInterrupt in your own code", err=True)
        code = INTERRUPTED
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        click.echo(f"{context.command_path if context else 'netwright'}: {error.format_message()}", err=True)
        code = error.exit_code
    except (ValueError, RuntimeError) as error:
        if type(error).__module__.split(".")[0] not in _PACKAGES:
            raise
        click.echo(f"netwright: {error}", err=True)
        code = _exit_code(error)
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        click.echo(f"netwright: {place}{error.strerror or error}", err=True)
        code = USAGE
    return code if isinstance(code, int) else 0


def _exit_code(error: Exception) -> int:
    codes = {"NothingFeasible": INFEASIBLE, "BudgetUnreachable": INFEASIBLE, "Interrupted": INTERRUPTED}
    return codes.get(type(error).__name__, USAGE)
