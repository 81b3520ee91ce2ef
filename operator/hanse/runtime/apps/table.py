"""Reads a dataset of rows and columns (CSV, CSV.gz, Parquet; a file or a directory of them) for the tabular app.

Whatever is wrong is a DatasetError that names the column and never shows a value: pyarrow's own messages quote the
data, so they are not passed on.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv, parquet

from hanse.api.participant import DatasetSchema
from hanse.runtime.apps import DatasetError
from hanse.runtime.apps.near import hint

_SUFFIXES = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class Table:
    """float32 [rows, features], float32 [rows] with 0 and 1, and an id for each row: its number where there is none."""

    features: tuple[str, ...]
    label: str
    values: NDArray[np.float32]
    labels: NDArray[np.float32]
    ids: tuple[str, ...]
    numbered: bool = False

    @property
    def own_ids(self) -> tuple[str, ...]:
        """Ids that say nothing of other rows: a row's number changes when one before it goes, its content does not."""
        if not self.numbered:
            return self.ids
        rows = np.column_stack([self.labels, self.values])
        return tuple(row.tobytes().hex() for row in rows)


def read_table(path: Path, schema: DatasetSchema) -> Table:
    """The columns that `schema` names, checked; without features all but id and label. Raises DatasetError."""
    files = _files(path)
    columns = _column_names(files[0])
    features = tuple(schema.features) or tuple(c for c in columns if c not in (schema.id, schema.label))
    _check_names(schema, features)
    parts = [_read(file, features, schema) for file in files]
    table = pa.concat_tables(parts)
    if table.num_rows == 0:
        raise DatasetError("the dataset has no row")
    labels = _floats(table, schema.label)
    if not np.isin(labels, (0.0, 1.0)).all():
        raise DatasetError(f"label column {schema.label} holds something else than 0 and 1")
    if labels.min() == labels.max():
        raise DatasetError(f"label column {schema.label} holds one class only")
    values = np.empty((table.num_rows, len(features)), np.float32)
    for index, name in enumerate(features):
        values[:, index] = _floats(table, name)
    return Table(features, schema.label, values, labels.astype(np.float32), _ids(table, schema.id), schema.id is None)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DatasetError("the dataset's path does not exist")
    files = sorted(f for f in path.iterdir() if f.name.endswith(_SUFFIXES)) if path.is_dir() else [path]
    if not files:
        raise DatasetError("the dataset's directory holds no .csv, .csv.gz or .parquet file")
    if not files[0].name.endswith(_SUFFIXES):
        raise DatasetError(f"{files[0].name}: not a .csv, .csv.gz or .parquet file")
    return files


def _column_names(file: Path) -> list[str]:
    try:
        if file.suffix == ".parquet":
            names = parquet.read_schema(file).names
        else:
            with csv.open_csv(file) as reader:
                names = reader.schema.names
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(_unreadable(file)) from error
    return [str(name) for name in names]


def _check_names(schema: DatasetSchema, features: Sequence[str]) -> None:
    if not features:
        raise DatasetError("the dataset has no feature column")
    if len(set(features)) != len(features):
        raise DatasetError("the schema names a feature twice")
    for role, name in (("label", schema.label), ("id", schema.id)):
        if name in features:
            raise DatasetError(f"the schema names the {role} column {name} as a feature")


def _read(file: Path, features: Sequence[str], schema: DatasetSchema) -> pa.Table:
    present = _column_names(file)
    wanted = [*features, schema.label, *([schema.id] if schema.id else [])]
    for name in wanted:
        if name not in present:
            role = {schema.label: "label column", schema.id: "id column"}.get(name, "feature column")
            raise DatasetError(f"{role} {name} is not in the dataset{hint(name, present)}")
        if present.count(name) > 1:
            raise DatasetError(f"column {name} is in the dataset twice")
    try:
        if file.suffix == ".parquet":
            return parquet.read_table(file, columns=wanted, use_threads=False)
        types = {name: pa.float64() for name in (*features, schema.label)}
        if schema.id:
            types[schema.id] = pa.string()
        return csv.read_csv(
            file,
            read_options=csv.ReadOptions(use_threads=False),
            convert_options=csv.ConvertOptions(include_columns=wanted, column_types=types),
        )
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(_cause(str(error), file, present)) from error


def _cause(message: str, file: Path, present: Sequence[str]) -> str:
    """What pyarrow found, without its quotations of the data."""
    found = re.match(r"In CSV column #(\d+): ", message)
    if found and int(found[1]) < len(present):
        return f"column {present[int(found[1])]} holds something that is not a number"
    return _unreadable(file)


def _unreadable(file: Path) -> str:
    kind = "Parquet" if file.suffix == ".parquet" else "CSV with a header and as many fields in each row"
    return f"{file.name} cannot be read as {kind}"


def _floats(table: pa.Table, name: str) -> NDArray[Any]:
    column = table.column(name)
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or _decimal(kind)):
        raise DatasetError(f"column {name} is of type {kind}, not a number")
    if column.null_count:
        raise DatasetError(f"column {name} has missing values")
    if _decimal(kind) or pa.types.is_boolean(kind):
        column = pc.cast(column, pa.float64())
    array = np.asarray(column.to_numpy(), np.float64)
    with np.errstate(over="ignore"):  # what float32 cannot hold is reported as not finite
        if not np.isfinite(array.astype(np.float32)).all():
            raise DatasetError(f"column {name} holds values that are not finite")
    return array


def _decimal(kind: Any) -> bool:
    return bool(pa.types.is_decimal(kind))


def _ids(table: pa.Table, name: str | None) -> tuple[str, ...]:
    if name is None:
        return tuple(str(row) for row in range(table.num_rows))
    column = table.column(name)
    if column.null_count:
        raise DatasetError(f"id column {name} has missing values")
    try:
        return tuple(pc.cast(column, pa.string()).to_pylist())
    except pa.ArrowException as error:
        raise DatasetError(f"id column {name} is of type {column.type}, not text or a whole number") from error
