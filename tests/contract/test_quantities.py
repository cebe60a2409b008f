import pytest

from dime.contract.errors import InputError, nearest, unknown
from dime.contract.quantities import plain, whole


@pytest.mark.parametrize(
    "text, unit, expected",
    [
        ("20ms", "s", 0.02),
        ("0.2s", "s", 0.2),
        ("0.2 s", "s", 0.2),
        ("5us", "s", 5e-6),
        ("5\u00b5s", "s", 5e-6),
        ("2min", "s", 120.0),
        ("5W", "W", 5.0),
        ("750mW", "W", 0.75),
        ("1W", "mW", 1000.0),
        ("150mJ", "J", 0.15),
        ("100MB", "B", 100e6),
        ("100MiB", "B", 100 * 2.0**20),
        ("1.5kB", "B", 1500.0),
        ("460.8MHz", "Hz", 460800000.0),
        ("20Mbit/s", "Mbit/s", 20.0),
        ("1Gbit/s", "Mbit/s", 1000.0),
        ("1e3ms", "s", 1.0),
        ("3%", "%", 0.03),
        ("-5W", "W", -5.0),
        (".5s", "s", 0.5),
    ],
)
def test_units_are_read(text, unit, expected):
    assert float(plain(text, unit)) == expected


@pytest.mark.parametrize("text", ["5", "0.2", "-0.0", "nan", "inf", "1e300", "many", "", "ms", "1..2s"])
def test_what_has_no_unit_is_left_as_it_is(text):
    assert plain(text, "s") == text


@pytest.mark.parametrize("text, unit", [("20MB", "s"), ("5 volts", "W"), ("5mb", "B"), ("3%", "s")])
def test_another_unit_is_refused_with_those_that_are_known(text, unit):
    with pytest.raises(InputError, match="may end in ") as caught:
        plain(text, unit)
    assert unit in str(caught.value)


def test_whole_numbers():
    assert whole("1.5kB", "B") == 1500 and whole("7", "B") == 7 and whole("460.8MHz", "Hz") == 460800000
    for text in ("1.5", "0.1B", "1e300GB", "1e-300B", "nan", "inf", "9" * 31, "", "x", "5e-324", "-0.0"):
        with pytest.raises(InputError, match="not a whole number of bytes"):
            whole(text, "B")


def test_the_nearest_name_is_suggested_whatever_its_case():
    assert str(unknown("network", "AlexNet", ["vgg11", "alexnet"])) == (
        "unknown network 'AlexNet'; known: alexnet, vgg11; did you mean 'alexnet'?"
    )
    assert nearest("wifi", ["3G", "WiFi"]) == "; did you mean 'WiFi'?"
    assert nearest("zebra", ["3G", "WiFi"]) == ""
    assert nearest("x" * 10**6, ["3G"]) == ""
