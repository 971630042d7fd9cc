"""Files of other formats: every command says which format it is and what to do."""

import io
import re
import tarfile
import zipfile

import pytest

import jaxtwin as jt
from jaxtwin._signatures import SIGNATURES, signature


@pytest.mark.parametrize("one", SIGNATURES, ids=lambda one: one.name)
@pytest.mark.parametrize("suffix", [".zip", ".vtk", ".mesh", ""])
def test_a_file_is_named_by_its_first_bytes_whatever_its_name(tmp_path, one, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(bytes(one.at) + one.mark + bytes(600))
    assert signature(path.read_bytes()) is one
    with pytest.raises(jt.InputError, match=re.escape(one.name)):
        jt.read_mesh(path)
    with pytest.raises(jt.InputError) as caught:
        jt.read_mapping(path)
    assert one.reader or (one.name in str(caught.value) and one.do in str(caught.value))


def test_a_real_tar_and_other_files():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    found = signature(stream.getvalue())
    assert found is not None
    assert found.name == "a tar archive"
    assert signature(b"") is None
    assert signature(b"x_mm,y_mm,lat_ms\n") is None


def test_workbooks_and_damaged_archives_are_told_from_exports(tmp_path):
    with zipfile.ZipFile(tmp_path / "map.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(jt.InputError, match="Excel workbook"):
        jt.read_mapping(tmp_path / "map.xlsx")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "map.xlsx").read_bytes()[:60])
    with pytest.raises(jt.InputError, match="damaged or cut short"):
        jt.read_mapping(tmp_path / "cut.zip")


def test_an_archive_in_a_folder_is_mentioned(tmp_path):
    (tmp_path / "study.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(100))
    with pytest.raises(jt.InputError, match="a 7z archive"):
        jt.read_mapping(tmp_path)


def test_a_table_without_its_columns_says_which(tmp_path):
    (tmp_path / "map.csv").write_text("x_mm,y_mm\n1,2\n")
    with pytest.raises(jt.InputError, match="without column lat_ms"):
        jt.read_mapping(tmp_path / "map.csv")
