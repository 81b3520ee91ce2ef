"""Tables: CSV, gzip and Parquet give the same; each fault names its column and shows no value of the data."""

import decimal
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from hanse.api.participant import DatasetSchema
from hanse.runtime.apps import DatasetError
from hanse.runtime.apps.table import Table, read_table

CSV = "id,age,limit,default\n7,31,1000.5,0\n8,45,2000,1\n9,28,-3e2,0\n"
SCHEMA = DatasetSchema(id="id", label="default", features=["limit", "age"])
SECRET = "Zaphod"


def write(folder: Path, text: str, name: str = "loans.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def as_parquet(folder: Path, **columns: object) -> Path:
    parquet.write_table(pa.table(columns), folder / "loans.parquet")
    return folder / "loans.parquet"


def assert_is_the_table(table: Table) -> None:
    assert table.features == ("limit", "age")
    assert table.label == "default"
    assert table.ids == ("7", "8", "9")
    np.testing.assert_array_equal(table.values, np.array([[1000.5, 31], [2000, 45], [-300, 28]], np.float32))
    np.testing.assert_array_equal(table.labels, np.array([0, 1, 0], np.float32))
    assert table.values.dtype == table.labels.dtype == np.float32


def test_csv_gzip_and_parquet_are_the_same(tmp_path: Path) -> None:
    assert_is_the_table(read_table(write(tmp_path, CSV), SCHEMA))
    assert_is_the_table(read_table(write(tmp_path, CSV, "loans.csv.gz"), SCHEMA))
    path = as_parquet(
        tmp_path,
        id=[7, 8, 9],
        age=pa.array([31, 45, 28], pa.int8()),
        limit=[decimal.Decimal("1000.5"), decimal.Decimal("2000"), decimal.Decimal("-300")],
        default=[False, True, False],
    )
    assert_is_the_table(read_table(path, SCHEMA))


def test_a_directory_is_all_its_files_in_order_of_their_names(tmp_path: Path) -> None:
    header, *rows = CSV.splitlines(keepends=True)
    write(tmp_path, header + rows[2], "b.csv")
    write(tmp_path, header + rows[0] + rows[1], "a.csv.gz")
    write(tmp_path, "not data", "README.txt")
    assert_is_the_table(read_table(tmp_path, SCHEMA))


def test_without_features_all_but_id_and_label(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, CSV), DatasetSchema(id="id", label="default"))
    assert table.features == ("age", "limit")


def test_without_id_the_row_counts(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, CSV), DatasetSchema(label="default", features=["age"])).ids == ("0", "1", "2")


def schema(**changes: object) -> DatasetSchema:
    return SCHEMA.model_copy(update=changes)


Case = tuple[Callable[[Path], Path], DatasetSchema, str]
CASES: dict[str, Case] = {
    "label": (lambda d: write(d, CSV), schema(label="defualt"), "label column defualt .*did you mean default"),
    "feature": (lambda d: write(d, CSV), schema(features=["Limits"]), "feature column Limits .*did you mean limit"),
    "id": (lambda d: write(d, CSV), schema(id="customer"), "id column customer is not in the dataset$"),
    "label as feature": (lambda d: write(d, CSV), schema(features=["default"]), "names the label column default as"),
    "id as feature": (lambda d: write(d, CSV), schema(features=["id"]), "names the id column id as a feature"),
    "feature twice": (lambda d: write(d, CSV), schema(features=["age", "age"]), "names a feature twice"),
    "column twice": (lambda d: write(d, CSV.replace("limit", "age")), schema(features=["age"]), "age .* twice"),
    "text": (lambda d: write(d, CSV.replace("45", SECRET)), SCHEMA, "column age holds something that is not a number"),
    "text label": (lambda d: write(d, CSV.replace(",1\n", f",{SECRET}\n")), SCHEMA, "column default holds something"),
    "missing": (lambda d: write(d, CSV.replace("45", "")), SCHEMA, "column age has missing values"),
    "infinite": (lambda d: write(d, CSV.replace("45", "inf")), SCHEMA, "column age holds values that are not finite"),
    "nan": (lambda d: write(d, CSV.replace("45", "NaN")), SCHEMA, "column age"),
    "too large": (lambda d: write(d, CSV.replace("45", "1e300")), SCHEMA, "column age .* not finite"),
    "three classes": (lambda d: write(d, CSV.replace(",1\n", ",2\n")), SCHEMA, "default holds something else than 0"),
    "one class": (lambda d: write(d, CSV.replace(",1\n", ",0\n")), SCHEMA, "default holds one class only"),
    "no row": (lambda d: write(d, CSV.splitlines()[0] + "\n"), SCHEMA, "no row"),
    "empty": (lambda d: write(d, ""), SCHEMA, "cannot be read as CSV"),
    "ragged": (lambda d: write(d, CSV + f"{SECRET}\n"), SCHEMA, "cannot be read as CSV"),
    "bytes": (lambda d: write(d, SECRET, "x.parquet"), SCHEMA, "x.parquet cannot be read as Parquet"),
    "not gzip": (
        lambda d: (d / "x.csv.gz").write_bytes(b"PK" * 50) and d / "x.csv.gz",
        SCHEMA,
        "cannot be read as CSV",
    ),
    "suffix": (lambda d: write(d, CSV, "loans.xlsx"), SCHEMA, "loans.xlsx: not a .csv"),
    "nothing": (lambda d: d / "loans.csv", SCHEMA, "does not exist"),
    "empty folder": (lambda d: d, SCHEMA, "holds no .csv"),
    "parquet text": (
        lambda d: as_parquet(d, id=["a"], age=[SECRET], limit=[1.0], default=[0]),
        SCHEMA,
        "column (age is of type string|default holds one class)",
    ),
    "parquet id": (
        lambda d: as_parquet(d, id=[[1], [2]], age=[1, 2], limit=[1.0, 2.0], default=[0, 1]),
        SCHEMA,
        "id column id is of type list",
    ),
    "parquet null": (
        lambda d: as_parquet(d, id=["a", None], age=[1, 2], limit=[1.0, 2.0], default=[0, 1]),
        SCHEMA,
        "id column id has missing values",
    ),
    "only id and label": (
        lambda d: write(d, "id,default\n1,0\n2,1\n"),
        schema(features=[]),
        "no feature column",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_each_fault_names_its_column_and_no_value(case: Case, tmp_path: Path) -> None:
    make, wanted, message = case
    with pytest.raises(DatasetError, match=message) as error:
        read_table(make(tmp_path), wanted)
    assert SECRET not in str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_a_record_less_leaves_the_other_records_ids_as_they_are(tmp_path: Path) -> None:
    header, *rows = CSV.splitlines(keepends=True)
    schema = DatasetSchema(label="default", features=["limit", "age"])
    whole = read_table(write(tmp_path, header + "".join(rows)), schema)
    less = read_table(write(tmp_path, header + "".join(rows[1:]), "less.csv"), schema)
    assert less.ids == ("0", "1")
    assert less.own_ids == whole.own_ids[1:]
    named = read_table(write(tmp_path, CSV), SCHEMA)
    assert named.own_ids == named.ids
