"""Archives that were kept pass the check of this version, too; one that was tampered with does not."""

import shutil

import pytest

from dime.host.provenance.check import check, opened
from dime.host.provenance.evaluation import FAILS
from tests.host.provenance.keep import KEPT

ARCHIVES = sorted(KEPT.glob("dime-artifact-*.zip"))


def test_there_is_one():
    assert ARCHIVES


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.stem)
def test_a_kept_archive_still_passes(path):
    found = check(path)
    assert found.holds, str(found)
    assert {row.part for row in found.rows} == {"intact", "re-derived", "claims"}


@pytest.mark.slow
def test_a_number_changed_in_table_and_list_alike_is_found_by_deriving(tmp_path):
    from dime.host.provenance import manifest

    with opened(ARCHIVES[-1]) as (root, _):
        archive = shutil.copytree(root, tmp_path / "archive")
    plan = next(archive.glob("results/plans/tiny/001/*/plan.json"))
    text = plan.read_text()
    plan.write_text(text.replace('"latency_s": ', '"latency_s": 1', 1))
    assert plan.read_text() != text
    manifest.write(archive)
    failed = [row for row in check(archive).rows if row.verdict == FAILS]
    assert failed and all(row.part != "intact" for row in failed)
    assert any("plan.json" in row.what and "latency_s" in row.found for row in failed)
