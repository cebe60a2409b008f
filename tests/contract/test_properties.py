import pytest

pytest.importorskip("hypothesis")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from dime.contract import messages, tables  # noqa: E402
from dime.contract.bundles import Bundle, covers, enumerate_bundles, parse, spell  # noqa: E402
from dime.contract.errors import InputError, TableError  # noqa: E402
from dime.contract.quantities import UNITS, plain, whole  # noqa: E402

NAMES = st.one_of(
    st.integers(1, 16).map(lambda count: ["conv{}".format(number) for number in range(1, count + 1)]),
    st.integers(1, 16).map(lambda count: ["encoder_layer_{}".format(number) for number in range(count)] + ["head"]),
)


@given(NAMES, st.data())
def test_every_bundle_of_every_chain_is_read_as_it_is_spelled(layers, data):
    bundle = data.draw(st.sampled_from(enumerate_bundles(len(layers))))
    assert parse(spell(bundle, layers), layers) == bundle


@given(NAMES, st.text())
def test_any_other_text_is_refused_or_a_bundle(layers, text):
    try:
        bundle = parse(text, layers)
    except InputError:
        return
    assert bundle in enumerate_bundles(len(layers))


@given(st.integers(1, 30), st.integers(1, 40))
def test_enumerated_bundles_are_all_and_only_those_within_the_limit(count, longest):
    found = enumerate_bundles(count, longest)
    assert found == [(a, b) for a in range(count) for b in range(a, count) if b - a < longest]


@given(st.sets(st.integers(1, 19)))
def test_any_cutting_tiles_the_chain(cuts):
    edges = [0] + sorted(cuts) + [20]
    bundles = [Bundle(edges[cut], edges[cut + 1] - 1) for cut in range(len(edges) - 1)]
    assert covers(bundles, 20)
    assert not covers(bundles[:-1], 20)
    assert not covers(bundles, 21)


COUNTS = st.integers(1, 2**63)
ROWS = st.fixed_dictionaries(
    {
        "bundle": st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
        "first_layer": st.sampled_from(["conv1", 'a,"b"']),
        "last_layer": st.just("conv1"),
        "frequency_hz": st.one_of(st.just(-1), COUNTS),
        "iteration": st.integers(0, 2**63),
        "run": st.integers(0, 99),
        "image": st.just("hills"),
        "repeats": COUNTS,
        "duration_s": st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        "start_ns": st.integers(0, 2**63),
        "end_ns": COUNTS,
        "input_bytes": COUNTS,
        "output_bytes": COUNTS,
        "input_shape": st.lists(COUNTS, min_size=1, max_size=5).map(lambda sizes: "x".join(map(str, sizes))),
        "output_shape": st.just("1x1000"),
        "single_s": st.one_of(st.none(), st.floats(min_value=0, exclude_min=True, allow_infinity=False)),
        "copy_in_s": st.one_of(st.none(), st.just(0.0)),
        "copy_out_s": st.just(None),
        "waited_s": st.one_of(st.none(), st.just(0.5)),
    }
)


@given(rows=st.lists(ROWS, min_size=1, max_size=5), cut=st.integers(0, 10**6))
def test_a_table_survives_the_disk_and_a_cut_anywhere(tmp_path_factory, rows, cut):
    path = str(tmp_path_factory.mktemp("table") / "timings.csv")
    with tables.Writer(path, tables.TIMINGS) as writer:
        writer.write(rows)
    assert [dict(row) for row in tables.read(path, tables.TIMINGS)] == rows
    with open(path, "rb+") as stream:
        size = stream.seek(0, 2)
        stream.truncate(cut % (size + 1))
    kept = [dict(row) for row in tables.recover(path, tables.TIMINGS)]
    assert kept == rows[: len(kept)]
    with tables.Writer(path, tables.TIMINGS, append=True) as writer:
        writer.write(rows[len(kept) :])
    assert [dict(row) for row in tables.read(path, tables.TIMINGS)] == rows


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_as_a_table(tmp_path_factory, content):
    path = str(tmp_path_factory.mktemp("table") / "timings.csv")
    with open(path, "wb") as stream:
        stream.write(content)
    with pytest.raises(TableError):
        tables.read(path, tables.TIMINGS)


@given(st.text(), st.integers(0, messages.LARGEST))
def test_messages_carry_any_text_on_one_line(text, number):
    line = messages.encode("progress", done=number, what=text)
    assert line.splitlines() == [line]
    assert messages.decode(line) == {"kind": "progress", "done": number, "what": text}


@given(st.text())
def test_arbitrary_text_never_breaks_the_reader(text):
    message = messages.decode(text)
    assert message is None or message["kind"] in messages.KINDS


@given(
    st.text(max_size=12) | st.from_regex(r"\A-?[0-9]{1,4}e?[0-9]{0,4} ?[a-zA-Z%]{0,3}\Z"),
    st.sampled_from(sorted(UNITS)),
)
def test_any_text_is_a_number_a_refusal_or_itself(text, unit):
    for read in (plain, whole):
        try:
            read(text, unit)
        except InputError as error:
            assert "\n" not in str(error) or "\n" in text
