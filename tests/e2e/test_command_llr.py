"""``netwright llr`` on real digits, with a device known from its data sheet."""

FAST = ("--replacements", "4", "--steps", "2", "--master-epochs", "1", "--epochs", "1", "--device", "t4:precision=fp16")


def test_llr_ends_with_an_exported_network_and_says_what_it_predicted(server, tmp_path):
    done = server.run("llr", "--latency", "1ms", "--out", "run", *FAST, "--json", "--quiet", cwd=tmp_path)
    result = done.json()
    assert result["latency_upper_ms"] <= 1
    assert (tmp_path / "run/network/model.onnx").exists()
    again = server.run("llr", "--latency", "1ms", "--out", "run", *FAST, "--json", "--quiet", cwd=tmp_path)
    assert again.json() == result
    other = server.run("llr", "--latency", "2ms", "--out", "run", *FAST, cwd=tmp_path)
    assert other.code == 2
    assert "budget_ms was 1.0, now 2.0; go on with the same settings" in other.err


def test_llr_says_what_is_wrong_in_one_line(server, tmp_path):
    wrong = server.run("llr", "--latency", "1ms", "--space", "zen", "--out", "run", cwd=tmp_path)
    assert wrong.code == 2
    assert "space 'zen' is a ZenSpace, expected one of stages" in wrong.err
    tiny = server.run("llr", "--latency", "1us", "--out", "tiny", *FAST, "--quiet", cwd=tmp_path)
    assert tiny.code == 3
    assert "no combination keeps 0.001 ms; the least that the stages reach is" in tiny.err
