"""What a board cannot do is known by the version of its torch."""

import pytest

from dime.contract import operations

GRAPH = {
    "values": [[[1, 4], "float16", 0], [[1, 4], "float16", 1], [[1, 4], "float16", 2]],
    "nodes": [
        {"operation": "functional.softmax", "module": "a", "arguments": [{"value": 0}], "keywords": {}, "outputs": [1]},
        {"operation": "tensor.mT", "module": "b", "arguments": [{"value": 1}], "keywords": {}, "outputs": [None]},
        {"operation": "tensor.mT", "module": "", "arguments": [[{"value": 1}]], "keywords": {}, "outputs": [2]},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("1.10.1", "1.10.1"), ("1.10.2", "1.10.1"), ("1.11", "1.11.0"), ("1.11.0a0+17540c5", "1.11.0"),
        ("2.3", "1.11.0"),
        ("1.10", "1.10.1"), ("1.9.1", None), ("9.0", "2.13.0"), ("new", None), ("", None),
    ],
)  # fmt: skip
def test_the_nearest_version_that_is_not_newer(version, found):
    assert operations.nearest(version, ["1.11.0", "1.10.1", "2.13.0"]) == found


def test_each_refusal_is_named_once_with_where_it_stands():
    assert operations.refusals(GRAPH, "1.10.2", on_cpu=False) == ["tensor.mT in b (node 1)"]
    on_cpu = operations.refusals(GRAPH, "1.10.2", on_cpu=True)
    assert on_cpu == ["functional.softmax in float16 on a CPU in a (node 0)", "tensor.mT in b (node 1)"]
    assert operations.refusals(GRAPH, "2.13.0", on_cpu=True) == []
    assert operations.refusals(GRAPH, "1.4", on_cpu=True) == []
