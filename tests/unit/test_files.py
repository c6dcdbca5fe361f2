"""Frames from CSV and Parquet."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from schemas.avro import parse_record
from schemas.contract import load_contract
from streams.files import FileError, columns_of_contract, columns_of_schema, read_frame, write_frame


def test_a_symbol_of_digits_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("Ticker,close\n007,1\n")
    frame = read_frame(path, columns_of_contract(load_contract("ohlcv")))
    assert frame["Ticker"].to_list() == ["007"]


def test_a_price_that_the_schema_has_as_text_keeps_its_digits(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("p,n\n1.10,5\n")
    fields = [{"name": "p", "type": "string"}, {"name": "n", "type": "long"}, {"name": "absent", "type": "long"}]
    raw = parse_record({"type": "record", "name": "R", "fields": fields})
    assert read_frame(path, columns_of_schema(raw)).row(0) == ("1.10", 5)


def test_a_type_is_inferred_from_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("v\n" + "1\n" * 5_000 + "oops\n")
    assert read_frame(path)["v"].dtype == pl.String


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_what_is_written_can_be_read(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({"a": [1, 2]})
    write_frame(frame, tmp_path / name)
    assert read_frame(tmp_path / name).equals(frame)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("x.txt", b"a\n1\n", "whose name ends in .csv or .parquet"),
        ("x.parquet", b"not a parquet file at all", "cannot be read as parquet"),
        ("x.csv", b"", "cannot be read as csv"),
        ("x.csv", b"a,b\n1,2,3\n", "cannot be read as csv"),
    ],
)
def test_an_unreadable_file_is_named_with_the_reason(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileError, match=complaint) as caught:
        read_frame(path)
    assert name in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no such file"):
        read_frame(tmp_path / "gone.csv")


def test_a_folder_that_is_not_there_cannot_be_written_into(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        write_frame(pl.DataFrame({"a": [1]}), tmp_path / "gone" / "x.parquet")
