"""``netwright tune`` on real digits: what it prints and writes, kill -9, bad input, and who takes its recipe."""

import json
import signal

import psutil
import pytest
import yaml
from command_place import ONE, refused
from commands import until

from nas.run import Run
from nas.store import RunFileError, RunStore
from nas.train.recipe import Recipe
from nas.train.tuned.run import FILE_NAME

BOUNDS = """
learning_rate: {low: 0.02, high: 1.0, log: true}
augment: [none, shift]
"""
TUNE = (
    "tune", ONE, "--data", "digits", "--trials", "5", "--epochs", "3", "--repeats", "2", "--bounds", "bounds.yaml",
    "--seed", "2", "--json",
)  # fmt: skip
SERIAL = ("--engine", "serial")


@pytest.fixture(scope="module", autouse=True)
def bounds(place):
    (place / "bounds.yaml").write_text(BOUNDS)


@pytest.fixture(scope="module")
def whole(server, place):
    ended = server.run(*TUNE, *SERIAL, "--out", "whole", cwd=place)
    return ended.json(), events(place / "whole")


def events(folder):
    """Everything that was recorded, without the times; trials in their order."""
    with RunStore.open(folder / FILE_NAME) as store:
        found = [
            {**{k: v for k, v in event.items() if k != "time"}, "curve": timeless(event.get("curve", []))}
            for event in store.events()
        ]
    return sorted(found, key=lambda event: (event["kind"], event.get("id", 0)))


def timeless(curve):
    return [{k: v for k, v in report.items() if k != "seconds"} for report in curve]


def recorded(folder):
    try:
        return len(events(folder))
    except RunFileError:
        return 0


def same(result, other):
    return {**result, "directory": ""} == {**other, "directory": ""}


def test_it_says_what_it_found_beside_the_given_recipe(server, place, whole):
    result, _ = whole
    assert len(result["outcomes"]) == result["trials"] == 5
    assert result["outcomes"][0]["recipe"] == result["given"]
    assert all(0.02 <= outcome["recipe"]["learning_rate"] <= 1 for outcome in result["outcomes"])
    assert yaml.safe_load((place / "whole" / "recipe.yaml").read_text()) == {"recipe": result["recipe"]}
    assert Recipe.from_dict(result["recipe"]).epochs == 3
    assert not (place / "whole" / "work").exists()
    text = server.run(*TUNE[:-1], *SERIAL, "--out", "whole", cwd=place)
    assert text.code == 0
    for words in (
        "5 (0 fell out at a rung",
        "validation top-1  216 images, 2 fresh seed(s)",
        "test top-1 ",
        "recipe taken",
    ):
        assert words in text.out, text.out
    assert same(server.run(*TUNE, *SERIAL, "--out", "whole", cwd=place).json(), result)


@pytest.mark.parametrize("after", [1, 6])
def test_a_killed_tuning_goes_on_and_ends_alike(server, place, whole, after):
    out = f"killed{after}"
    command = server.start(*TUNE, *SERIAL, "--out", out, cwd=place)
    assert until(lambda: (place / out / FILE_NAME).exists() and recorded(place / out) >= after)
    command.signal(signal.SIGKILL)
    command.wait()
    ended = server.run(*TUNE, *SERIAL, "--out", out, cwd=place)
    assert same(ended.json(), whole[0])
    assert events(place / out) == whole[1]


def test_an_interrupt_says_how_to_go_on(server, place):
    command = server.start(*TUNE, *SERIAL, "--out", "stopped", cwd=place)
    assert until(lambda: recorded(place / "stopped") >= 1)
    command.signal(signal.SIGINT)
    ended = command.wait()
    assert ended.code == 130
    assert "go on with the same command; what is done is in stopped" in ended.err
    assert "Traceback" not in ended.err


def test_a_training_takes_the_recipe_and_flags_win(server, place, whole):
    train = ("train", ONE, "--data", "digits", "--recipe", "whole/recipe.yaml", "--json", "-q")
    ended = server.run(*train, "--epochs", "1", "--out", "trained", cwd=place).json()
    assert ended["epochs"] == 1
    (place / "flat.yaml").write_text("epochs: 2\nlearning_rate: 1e-1\n")
    assert server.run(*train[:5], "flat.yaml", *train[6:], "--out", "flat", cwd=place).json()["epochs"] == 2


def workers(pid):
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if "ImplicitFunc" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_recorded_trials_outlive_a_damaged_state_of_tune(server, place, whole):
    asked = (*TUNE, "--engine", "ray", "--workers", "2", "--out", "damaged")
    command = server.start(*asked, cwd=place)
    assert until(lambda: recorded(place / "damaged") >= 2)
    command.signal_group(signal.SIGKILL)
    command.wait()
    (place / "damaged" / "work" / "trials" / "tune-5" / "tuner.pkl").write_text("x")
    ended = server.run(*asked, cwd=place)
    assert "cannot be read (invalid load key, 'x'.); trainings under way begin again" in ended.err
    assert same(ended.json(), whole[0])
    assert events(place / "damaged") == whole[1]


@pytest.mark.slow
def test_a_lost_raylet_ends_a_tuning_in_one_line(server, place, whole):
    asked = (*TUNE, "--engine", "ray", "--workers", "2", "--out", "raylet")
    command = server.start(*asked, cwd=place)
    assert until(lambda: recorded(place / "raylet") >= 1)
    (raylet,) = [child for child in psutil.Process(command.pid).children() if child.name() == "raylet"]
    raylet.kill()
    ended = command.wait()
    assert ended.code == 2
    assert "Ray has lost its process raylet" in ended.err
    assert "go on with the same command; it is in raylet" in ended.err
    assert same(server.run(*TUNE, *SERIAL, "--out", "raylet", cwd=place).json(), whole[0])


@pytest.mark.slow
def test_ray_ends_alike_though_driver_and_workers_are_killed(server, place, whole):
    asked = (*TUNE, "--engine", "ray", "--workers", "2", "--out", "ray")
    command = server.start(*asked, cwd=place)
    assert until(lambda: recorded(place / "ray") >= 2)
    command.signal_group(signal.SIGKILL)
    command.wait()
    before = recorded(place / "ray")
    assert before < len(whole[1])
    command = server.start(*asked, cwd=place)
    killed = 0
    while killed < 2 and until(lambda: workers(command.pid), 30):
        for worker in workers(command.pid)[:1]:
            worker.kill()
            killed += 1
    ended = command.wait()
    assert killed == 2
    assert same(ended.json(), whole[0])
    assert events(place / "ray") == whole[1]


@pytest.mark.slow
def test_a_search_tunes_its_winner_and_goes_on_after_kills(server, place):
    search = (
        "search", "--macs", "500k", "--evaluations", "60", "--seed", "1", *SERIAL, "--epochs", "3", "--json",
        "--set", "finalists.trained=2", "--set", "finalists.epochs=1", "--set", "guard.seeds=0",
        "--set", "tune.trials=4", "--set", "tune.repeats=2", "--set", "latency.measure=3s",
    )  # fmt: skip
    whole = server.run(*search, "--out", "searched", cwd=place).json()
    args = (*search, "--out", "search-killed")
    for kind, times in (("winner", 1), ("tune_trial", 2), ("tuned", 1)):
        command = server.start(*args, cwd=place)
        assert until(lambda kind=kind, times=times: happened(place / "search-killed", kind, times))
        command.signal(signal.SIGKILL)
        command.wait()
        args = ("resume", "search-killed", "--json")
    ended = server.run(*args, cwd=place).json()
    assert ended["best"]["top1"] == whole["best"]["top1"]
    with Run.open(place / "searched") as one, Run.open(place / "search-killed") as other:
        (tuned,), (again,) = one.events("tuned"), other.events("tuned")
        assert {**tuned, "time": ""} == {**again, "time": ""}
        assert tuned["test"] is None  # the winner alone sees the test images
        assert len(one.events("tune_trial")) == len(other.events("tune_trial")) == 4
        (last,) = [event for event in one.events("epoch") if event["epoch"] == 1]
    assert last["learning_rate"] <= tuned["recipe"]["learning_rate"]


def happened(directory, kind, times):
    try:
        with Run.open(directory) as run:
            return len(run.events(kind)) >= times
    except RunFileError:
        return False


WRONG = {
    "no data": (["tune", ONE], "which images? give --data"),
    "no such setting": (["tune", ONE, "--data", "digits", "--set", "rate=1"], "recipe.rate: unknown setting"),
    "one trial": (["tune", ONE, "--data", "digits", "--trials", "1"], "--trials"),
    "no such bounds": (["tune", ONE, "--data", "digits", "--bounds", "none.yaml"], "none.yaml: cannot be read"),
    "bounds of nothing": (["tune", ONE, "--data", "digits", "--bounds", "list.yaml"], "list.yaml: holds list"),
    "misspelt bounds": (["tune", ONE, "--data", "digits", "--bounds", "misspelt.yaml"], "did you mean 'momentum'"),
    "no YAML": (["tune", ONE, "--data", "digits", "--recipe", "broken.yaml"], "broken.yaml: not YAML"),
    "no GPU": (["tune", ONE, "--data", "digits", "--device", "gpu"], "tune: --device='gpu'"),
    "a third": (["train", ONE, "--data", "digits", "--workers", "3"], "batch_size=64 for 3 workers"),
    "no recipe": (["train", ONE, "--data", "digits", "--recipe", "list.yaml"], "list.yaml: holds list"),
    "tuned binas": (
        ["search", "--score", "binas", "--set", "tune.trials=4"],
        "tune.trials=4: expected 0 or at least 2",
    ),
    "search bounds": (["search", "--set", "tune.bounds={momentun: [0.5, 0.9]}"], "did you mean 'momentum'"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_bad_input_is_one_line_and_leaves_nothing(server, place, wrong):
    args, said = wrong
    (place / "list.yaml").write_text("- 1\n")
    (place / "misspelt.yaml").write_text("momentun: [0.5, 0.9]\n")
    (place / "broken.yaml").write_text("a: [\n")
    assert refused(server.run(*args, "--out", "refused", cwd=place), 2, said)
    assert not (place / "refused").exists()


def test_another_tuning_is_refused(server, place, whole):
    ended = server.run(*TUNE, *SERIAL, "--set", "momentum=0.8", "--out", "whole", cwd=place)
    assert refused(ended, 2, "whole: holds a tuning of other settings (recipe)", "choose another --out")
    assert json.loads(server.run(*TUNE, *SERIAL, "--out", "whole", cwd=place).out)["trials"] == 5
