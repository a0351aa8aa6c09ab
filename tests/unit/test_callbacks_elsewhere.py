"""Callbacks beside a search in a file: of tunings and trainings, and of runs on a PostgreSQL server."""

import json

import pytest
from click.testing import CliRunner
from postgresql_server import PASSWORD, PostgresServer, missing

from nas import Run, resume, search
from nas.cli.main import cli

STRUCTURE = "SuperConvK3BNRELU(1,4,2,1)SuperConvK1BNRELU(4,8,1,1)"
TUNE = ("tune", STRUCTURE, "--data", "digits", "--trials", "2", "--repeats", "1", "--epochs", "2", "--engine", "serial")
TRAIN = ("train", STRUCTURE, "--data", "digits", "--epochs", "2")


def command(*words):
    done = CliRunner().invoke(cli, [*map(str, words), "--json", "-q"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def told(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_tuning_tells_of_its_trials_and_once_only(tmp_path):
    words = (*TUNE, "--out", tmp_path / "tuned", "--callback", "jsonl", "--callback", "tensorboard")
    result = command(*words)
    lines = told(tmp_path / "tuned" / "events.jsonl")
    assert lines[0]["event"] == "start"
    stages = [line["stage"] for line in lines if line["event"] == "stage"]
    assert stages.count("tune_trial") == 2
    assert stages[-1] == "tuned"
    epochs = [(line["training"], line["epoch"]) for line in lines if line["event"] == "trial"]
    assert {("tune_trial-0", 1), ("tune_trial-0", 2), ("tune_trial-1", 1)} <= set(epochs)
    assert lines[-1]["reason"] == "finished"
    assert lines[-1]["summary"]["recipe"] == result["recipe"]
    assert list((tmp_path / "tuned" / "tensorboard").iterdir())
    assert command(*words)["recipe"] == result["recipe"]
    again = told(tmp_path / "tuned" / "events.jsonl")[len(lines) :]
    assert [line["event"] for line in again] == ["start", "end"]


def test_a_training_tells_of_its_epochs_beside_its_folder(tmp_path):
    result = command(*TRAIN, "--out", tmp_path / "net", "--callback", "jsonl", "--callback", "tensorboard")
    lines = told(tmp_path / "net-log" / "events.jsonl")
    assert [line["event"] for line in lines] == ["start", "trial", "trial", "end"]
    assert [line["validation_top1"] for line in lines[1:3]] == [row["validation_top1"] for row in result["curve"]]
    assert lines[-1]["summary"]["test_top1"] == result["test_top1"]
    assert not (tmp_path / "net" / "events.jsonl").exists()
    assert list((tmp_path / "net-log" / "tensorboard").iterdir())


def test_a_callback_that_fails_does_not_end_a_training(tmp_path):
    done = CliRunner().invoke(cli, [*TRAIN, "--out", str(tmp_path / "net"), "--callback", "jsonl:path=/proc/no/where"])
    assert done.exit_code == 0, done.output
    assert "the run goes on without it" in done.output
    assert (tmp_path / "net" / "model.onnx").exists()


@pytest.mark.parametrize("words", [TUNE, TRAIN], ids=lambda words: words[0])
def test_an_unknown_callback_is_one_line_and_begins_nothing(tmp_path, words):
    done = CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "made"), "--callback", "jsonl:pth=x"])
    assert done.exit_code != 0
    assert "unknown option 'pth'" in str(done.output) + str(done.exception)
    assert list(tmp_path.iterdir()) == []


SEARCH = {
    "train": False,
    "space": "zen-tiny",
    "engine": {"kind": "serial"},
    "constraints": {"macs": "500k"},
    "search": {"evaluations": 60, "population": 20},
    "callbacks": ["jsonl", "csv", "tensorboard"],
}


class Killed(BaseException):
    """The end of a process at this point."""


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_run_on_a_server_tells_every_candidate_once(tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with PostgresServer() as server:
        config = {**SEARCH, "store": server.url}
        search(config=config, out=tmp_path / "whole").close()
        rows = [line["id"] for line in told(tmp_path / "whole" / "events.jsonl") if line["event"] == "candidate"]
        assert rows == list(range(60))
        assert len((tmp_path / "whole" / "candidates.csv").read_text().splitlines()) == 61

        def killed(self, results, standing):
            if standing.candidates >= 20:
                raise Killed

        with monkeypatch.context() as patched:
            patched.setattr("nas.callbacks.csv_table.CsvTable.on_batch_scored", killed)
            with pytest.raises(Killed):
                search(config=config, out=tmp_path / "killed")
        with resume(tmp_path / "killed") as run:
            assert run.status()["candidates"] == 60
        lines = told(tmp_path / "killed" / "events.jsonl")
        assert [line["id"] for line in lines if line["event"] == "candidate"] == list(range(60))
        table = (tmp_path / "killed" / "candidates.csv").read_text().splitlines()
        assert [int(line.partition(",")[0]) for line in table[1:]] == list(range(60))
        with Run.open(tmp_path / "whole") as one, Run.open(tmp_path / "killed") as other:
            assert list(one.store.results()) == list(other.store.results())
