"""Frames from the files that people have: CSV and Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from streams.errors import SeamlessError

if TYPE_CHECKING:
    from schemas.avro import AvroRecord
    from schemas.contract import Contract

__all__ = ["FileError", "columns_of_contract", "columns_of_schema", "read_frame", "write_frame"]

_FORMATS = ".csv or .parquet"


class FileError(SeamlessError):
    """A file cannot be read or written; the message says which and why."""


def read_frame(path: Path, types: Mapping[str, pl.DataType] | None = None, *, dates: bool = False) -> pl.DataFrame:
    """Read a CSV or Parquet file, told apart by the name's ending.

    Args:
        types: of CSV columns by name, where they are known; the others are inferred from all rows. Columns that the
            file does not have are left aside.
        dates: whether CSV columns that look like dates or times become such.

    Raises:
        FileError: if the file cannot be read as what its name says.
    """
    kind = path.suffix.lower()
    if kind not in {".csv", ".parquet"}:
        raise FileError(f"{path}: give a file whose name ends in {_FORMATS}")
    if not path.is_file():
        raise FileError(f"{path}: there is no such file")
    try:
        if kind == ".parquet":
            return pl.read_parquet(path)
        header = pl.read_csv(path, n_rows=0, infer_schema=False).columns
        known = {name: kind for name, kind in (types or {}).items() if name in header}
        return pl.read_csv(path, schema_overrides=known, infer_schema_length=None, try_parse_dates=dates)
    except (OSError, pl.exceptions.PolarsError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FileError(f"{path}: it cannot be read as {kind[1:]}: {reason}") from error


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a CSV or Parquet file, told apart by the name's ending.

    Raises:
        FileError: if it cannot be written.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            frame.write_parquet(path)
        elif kind == ".csv":
            frame.write_csv(path)
        else:
            raise FileError(f"{path}: give a name that ends in {_FORMATS}")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FileError(f"{path}: it cannot be written: {error}") from error


def columns_of_schema(record: AvroRecord) -> dict[str, pl.DataType]:
    """Return the types that CSV columns must be read as to fit a schema; those of times are left to be found."""
    kinds: dict[str, pl.DataType] = {
        "string": pl.String(),
        "enum": pl.String(),
        "boolean": pl.Boolean(),
        "int": pl.Int32(),
        "long": pl.Int64(),
        "float": pl.Float32(),
        "double": pl.Float64(),
    }
    return {f.name: kinds[f.type] for f in record.fields.values() if f.type in kinds and f.logical is None}


def columns_of_contract(contract: Contract) -> dict[str, pl.DataType]:
    """Return the CSV columns that must stay text because a contract takes them as text: symbol `007` is not 7."""
    texts = [f for f in contract.record.fields.values() if f.type in {"string", "enum"}]
    return {n: pl.String() for f in texts for n in (f.name, *f.aliases)}
