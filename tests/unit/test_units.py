import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.units import InvalidQuantity, parse_bytes, parse_count, parse_latency_ms, parse_seconds


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_latency_ms, "2ms", 2.0),
        (parse_latency_ms, " 1.5 ms ", 1.5),
        (parse_latency_ms, "500us", 0.5),
        (parse_latency_ms, "500µs", 0.5),
        (parse_latency_ms, "0.01s", 10.0),
        (parse_latency_ms, ".5MS", 0.5),
        (parse_seconds, 90, 90.0),
        (parse_seconds, "90s", 90.0),
        (parse_seconds, "5min", 300.0),
        (parse_seconds, "5m", 300.0),
        (parse_seconds, "2h", 7200.0),
        (parse_count, "162M", 162e6),
        (parse_count, "1.5MMACs", 1.5e6),
        (parse_count, "18 layers", 18.0),
        (parse_count, "4k params", 4e3),
        (parse_count, 18, 18.0),
        (parse_count, "1e6", 1e6),
        (parse_count, "2G", 2e9),
        (parse_bytes, "300KB", 3e5),
        (parse_bytes, "2MiB", 2.0 * 2**20),
        (parse_bytes, 4096, 4096.0),
    ],
)
def test_quantities_as_people_write_them(parse, text, value):
    assert parse(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("parse", "text", "hint"),
    [
        (parse_latency_ms, "2", "2ms"),
        (parse_latency_ms, 2.0, "2ms"),
        (parse_latency_ms, "0ms", "2ms"),
        (parse_latency_ms, "-2ms", "2ms"),
        (parse_latency_ms, "1e400ms", "2ms"),
        (parse_latency_ms, "2 minutes", "us, ms or s"),
        (parse_latency_ms, "nan", "2ms"),
        (parse_latency_ms, "2ms 3ms", "2ms"),
        (parse_seconds, "5ms", "5min"),
        (parse_seconds, "", "5min"),
        (parse_count, "inf", "4.2M"),
        (parse_count, "4.2X", "4.2M"),
        (parse_count, "M", "4.2M"),
        (parse_count, True, "4.2M"),
        (parse_count, None, "4.2M"),
        (parse_bytes, "3 bits", "300KB"),
    ],
)
def test_anything_else_is_refused_with_an_example(parse, text, hint):
    with pytest.raises(InvalidQuantity) as caught:
        parse(text)
    assert hint in str(caught.value)
    assert repr(text) in str(caught.value)


@given(st.text(max_size=12))
def test_any_text_is_a_positive_number_or_refused(text):
    for parse in (parse_latency_ms, parse_seconds, parse_count, parse_bytes):
        try:
            value = parse(text)
        except InvalidQuantity:
            continue
        assert 0 < value < float("inf")


@given(st.floats(1e-12, 1e18))
def test_a_number_written_by_python_is_read_back(value):
    assert parse_count(value) == value
    assert parse_bytes(repr(value)) == value
    assert parse_latency_ms(f"{value!r}ms") == value
