"""The container and cluster examples: what they run exists, with the options that they give."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from nas.cli.main import cli

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "examples" / "ray_compose.yaml").read_text())
CLUSTER = yaml.safe_load((ROOT / "examples" / "ray_cluster.yaml").read_text())


def instructions():
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def last(name):
    return [text for instruction, text in instructions() if instruction == name][-1]


def check_netwright(words):
    """The command is in the table, and takes these options."""
    name, *options = words
    command = cli.get_command(None, name)
    assert command is not None, name
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in options if word.startswith("--")} <= known


def check_ray(words):
    """The command of Ray takes these options."""
    from ray.scripts import scripts

    assert words[0] == "ray"
    command = scripts.cli.commands[words[1]]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words[2:] if word.startswith("--")} <= known


def test_the_image_runs_the_service_as_an_ordinary_user_with_a_health_check():
    assert json.loads(last("ENTRYPOINT")) == ["netwright"]
    order = [name for name, _ in instructions()]
    assert order.index("USER") > max(i for i, name in enumerate(order) if name in ("RUN", "COPY"))
    assert last("USER") not in ("root", "0")
    health = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    compile(health[2], "health", "exec")  # a program without mistakes
    assert "/api/v1/health" in health[2]
    check_netwright(json.loads(last("CMD")))


def test_the_image_is_built_from_what_there_is_with_the_bounds_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    torch = next(need for need in project["dependencies"] if need.startswith("torch"))
    assert f'pip install "{torch}"' in DOCKERFILE
    assert re.search(r'ARG EXTRAS="(\w+)"', DOCKERFILE)[1] in project["optional-dependencies"]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name, text in instructions():
        if name == "COPY" and not text.startswith("--from"):
            for source in text.split()[:-1]:
                assert source in kept
                assert (ROOT / source).exists()
    for name, text in instructions():
        if name == "FROM":
            assert re.match(r"python:3\.\d+-slim-\w+", text)


@pytest.mark.parametrize("service", sorted(COMPOSE["services"]))
def test_commands_of_the_compose_file_exist(service):
    described = COMPOSE["services"][service]
    if described["entrypoint"] == ["netwright"]:
        check_netwright(described["command"])
    else:
        check_ray(described["command"])
        check_ray(described["healthcheck"]["test"][1:])
    assert described["volumes"] == ["runs:/runs"]
    assert set(COMPOSE["volumes"]) == {"runs"}


def test_the_cluster_file_is_one_of_ray_and_its_commands_exist():
    import jsonschema
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    try:
        jsonschema.validate(CLUSTER, schema)
    except jsonschema.ValidationError as error:
        pytest.fail(error.message)
    commands = [*CLUSTER["head_start_ray_commands"], *CLUSTER["worker_start_ray_commands"]]
    for command in commands:
        check_ray(shlex.split(command.partition("; ")[2]))


@pytest.mark.parametrize("file", ["ray_compose.yaml", "ray_cluster.yaml"])
def test_commands_in_the_head_of_an_example_exist(file):
    text = (ROOT / "examples" / file).read_text()
    found = re.findall(r"netwright (search [^\n']+)", text)
    assert found
    for command in found:
        check_netwright(shlex.split(command))
