"""The searcher finds what is there, wherever it lies, and nothing else."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.attacks.searching import Form, Searcher, cells, file_blocks, files_under, forms, memory, tree

GENERATOR = np.random.default_rng(3)
UPDATE = GENERATOR.normal(size=4000)
POINTS = np.rint(UPDATE * 2**15).astype(np.int64)
FORMS = forms("a", {"update": UPDATE}, {"points": POINTS})


def noise(size: int) -> bytes:
    return np.random.default_rng(11).bytes(size)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("offset", [0, 1, 3, 16, (1 << 24) - 40])
def test_finds_each_form_at_any_byte_and_across_blocks(form: Form, offset: int) -> None:
    haystack = noise(offset) + form.data[: 40 * form.window] + noise(1000)
    found = Searcher([form], 500).search([haystack])
    assert found.keys() == {form.name}
    assert 36 <= found[form.name] <= 40  # a few windows of integers are not telling
    in_pieces = Searcher([form], 500).search([haystack[:-1500], haystack[-1500:]])
    assert in_pieces == found


def test_finds_nothing_in_noise_zeros_or_another_update() -> None:
    searcher = Searcher(FORMS)
    other = forms("b", {"update": GENERATOR.normal(size=4000)}, {"points": np.arange(-2000, 2000)})
    assert searcher.search([noise(1 << 22), bytes(1 << 20), *(form.data for form in other)]) == {}


def test_a_form_that_looks_like_other_data_is_refused() -> None:
    with pytest.raises(ValueError, match="told from"):
        Searcher(forms("a", {"update": np.ones(4000)}, {}))


def test_finds_it_in_files_and_in_a_database_whose_pages_split_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"x" + UPDATE.astype("<f4").tobytes())
    base = tmp_path / "state.db"
    with sqlite3.connect(base) as connection:
        connection.execute("create table task (id text, body blob)")
        connection.execute("insert into task values ('1', ?)", (b"head" + POINTS.tobytes(),))
    connection.close()
    searcher = Searcher(FORMS)
    assert files_under(tmp_path) == [tmp_path / "deep" / "file", base]
    assert set(searcher.search(file_blocks(tmp_path / "deep" / "file"))) == {"a: update as <f4"}
    assert set(searcher.search(cells(base))) == {"a: points as <i8"}


def test_finds_it_in_the_memory_of_a_process_and_its_children() -> None:
    child = "import sys; held = bytes(sys.stdin.buffer.read()); print('ready', flush=True); sys.stdout.close(); "
    child += "import time; time.sleep(600)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(UPDATE.astype("<f8").tobytes())
        process.stdin.close()
        assert process.stdout.readline() == b"ready\n"
        parent, descendant = tree(process.pid)
        searcher = Searcher(FORMS)
        assert searcher.search(memory(parent)) == {}
        assert set(searcher.search(memory(descendant))) == {"a: update as <f8"}
    finally:
        for pid in reversed(tree(process.pid)):
            os.kill(pid, 9)
        process.wait()
