"""Training and export, and the folders that they write."""

import json
import signal

from command_place import ONE, refused
from commands import until


def test_an_occupied_place_is_refused_before_the_training(server, place):
    (place / "taken").mkdir()
    (place / "taken" / "config.json").write_text('{"model_type": "bert"}')
    (place / "taken" / "thesis.tex").write_text("years of work")
    for command in (["train", ONE, "--epochs", "99999"], ["export", ONE]):
        ended = server.run(*command, "--data", "digits", "--out", "taken", cwd=place)
        assert refused(ended, 2, "taken: holds other files")
    assert sorted(path.name for path in (place / "taken").iterdir()) == ["config.json", "thesis.tex"]
    assert not list(place.glob(".taken*"))


def test_a_training_and_its_export(server, place):
    train = ("train", ONE, "--data", "digits", "--epochs", "1", "--set", "weight_decay=1e-4", "--out", "deep/trained")
    first = server.run(*train, "--json", "-q", cwd=place).json()
    again = server.run(*train, "--json", "-q", cwd=place)
    assert refused(again, 2, "deep/trained: holds an exported network already", "--overwrite", "another --out")
    replaced = server.run(*train, "--overwrite", "--json", "-q", cwd=place)
    assert replaced.json()["test_top1"] == first["test_top1"]
    assert [path.name for path in (place / "deep").iterdir()] == ["trained"]
    onto_itself = server.run("export", "deep/trained", "--out", "deep/trained", cwd=place)
    assert refused(onto_itself, 2, "is the source itself", "give another --out")
    config = json.loads((place / "deep" / "trained" / "config.json").read_text())
    (place / "damaged").mkdir()
    for name, value, words in (("input_shape", [8, 8], "input_shape=[8, 8]"), ("dataset", 5, "dataset=5")):
        (place / "damaged" / "config.json").write_text(json.dumps(config | {name: value}))
        assert refused(server.run("export", "damaged", "--out", "x", cwd=place), 2, words)
    assert refused(server.run("score", "damaged", "--resolution", "8", cwd=place), 2, "dataset=5")


def test_an_interrupted_training_goes_on_without_a_word_of_overwriting(server, place):
    train = ("train", ONE, "--data", "digits", "--out", "interrupted", "-q", "--json")
    assert server.run(*train, "--epochs", "1", cwd=place).code == 0
    running = server.start(*train, "--epochs", "3", "--overwrite", cwd=place)
    assert until((place / ".interrupted.checkpoint.pt").exists)
    running.signal(signal.SIGKILL)
    running.wait()
    ended = server.run(*train, "--epochs", "3", cwd=place)
    assert ended.json()["epochs"] == 3
