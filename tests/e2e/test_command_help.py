"""What the command says of itself, and how quickly."""

import subprocess
import sys

from nas.cli.main import COMMANDS

HEAVY = ("torch", "ray", "onnx", "onnxruntime", "sklearn", "pandas", "sqlalchemy", "scipy", "pydantic")


def test_help_imports_nothing_heavy():
    script = (
        "import sys\nfrom nas.cli import main\nsys.argv = ['netwright', '--help']\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
    assert all(name in done.stdout for name in COMMANDS)


def test_helps_of_all_commands_import_no_torch_and_no_ray():
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom nas.cli.main import COMMANDS, cli\n"
        "for name in COMMANDS:\n"
        "    result = CliRunner().invoke(cli, [name, '--help'])\n"
        "    assert result.exit_code == 0, result.output\n"
        "    assert 'Usage:' in result.output\n"
        "for name in ('ls', 'show', 'check'):\n"
        "    assert CliRunner().invoke(cli, ['space', name, '--help']).exit_code == 0\n"
        "print([name for name in ('torch', 'ray', 'onnx', 'onnxruntime', 'sklearn', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_version_and_module(server, place):
    assert server.run("--version", cwd=place).out.startswith("netwright")
    done = subprocess.run([sys.executable, "-m", "nas", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_bare_command_prints_its_help(server, place):
    bare = server.run(cwd=place)
    assert (bare.code, bare.err) == (0, "")
    assert bare.out == server.run("--help", cwd=place).out


def test_a_reader_that_goes_away_is_no_error(place):
    pipe = f"{sys.executable} -m nas space ls; {sys.executable} -m nas space show zen --samples 3000 | head -1"
    done = subprocess.run(pipe, shell=True, capture_output=True, text=True, check=False, cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("name")
