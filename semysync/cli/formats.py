"""The formats of exported rows: CSV, JSON lines and Parquet, a few thousand rows in memory."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import click
import msgspec

from semysync.mirror.reading.export import Column

AT_ONCE = 10_000  #: rows in memory, and in a row group of Parquet

Row = tuple[object, ...]
T = TypeVar("T")


class Writer(Protocol):
    """Writes rows into a file as long as there are any; returns how many there were."""

    def __call__(self, file: BinaryIO, columns: Sequence[Column], rows: Iterable[Row]) -> int: ...


def write(form: str, file: BinaryIO, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Write rows into a file that is open for bytes; return how many there were."""
    writers: dict[str, Writer] = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}
    return writers[form](file, columns, rows)


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """
    Open a file that gets its name when it is complete, and is on the disk then.

    It is as private as the mirror. Ends with a sentence where there is one already, or no room.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        if path.exists() and not force:
            raise click.UsageError(f"{path} is there already: name another, or say --force")
        path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(number, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise click.ClickException(f"cannot write {path}: {exc.strerror or exc}") from None


def _csv(file: BinaryIO, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
    writer = csv.writer(text)
    writer.writerow([column.name for column in columns])
    count = 0
    for some in _batches(rows):
        writer.writerows(some)
        count += len(some)
    text.detach()
    return count


def _jsonl(file: BinaryIO, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    names = [column.name for column in columns]
    return write_lines(file, (dict(zip(names, row, strict=True)) for row in rows))


def write_lines(file: BinaryIO, values: Iterable[object]) -> int:
    """Write values as JSON, each in a line; return how many there were."""
    encode = msgspec.json.Encoder().encode_lines
    count = 0
    for some in _batches(values):
        file.write(encode(some))
        count += len(some)
    return count


def _parquet(file: BinaryIO, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise click.ClickException(
            "Parquet needs pyarrow: pip install 'semysync[parquet]'"
        ) from None
    kinds = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string()}
    schema = pa.schema([(column.name, kinds[column.kind]) for column in columns])
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for some in _batches(rows):
            arrays = [
                pa.array(values, kind)
                for values, kind in zip(zip(*some, strict=True), schema.types, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            count += len(some)
    return count


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(rows)
    while some := list(islice(rest, AT_ONCE)):
        yield some
