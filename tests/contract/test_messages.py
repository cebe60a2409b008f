import pytest

from dime.contract import messages


def test_a_message_is_read_as_it_was_sent():
    line = messages.encode("progress", done=3, what="conv1\nconv2 \u00b5")
    assert "\n" not in line
    assert messages.decode(line) == {"kind": "progress", "done": 3, "what": "conv1\nconv2 \u00b5"}


@pytest.mark.parametrize(
    "line", ["", "Downloading: 3%", "{}", "[1]", "null", '{"kind": "progress"}', '{"kind": 1}', '{"kind": "other"}']
)
def test_anything_else_is_not_a_message(line):
    assert messages.decode(line) is None


def test_an_unknown_kind_or_field_is_a_defect():
    with pytest.raises(ValueError):
        messages.encode("shout", text="x")
    with pytest.raises(ValueError):
        messages.encode("note", text="x", loud=True)


def test_sending_is_a_line_at_once(capsys):
    messages.send("note", text="hello")
    assert messages.decode(capsys.readouterr().out) == {"kind": "note", "text": "hello"}
