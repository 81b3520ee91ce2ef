"""The same rounds give the same bits, whichever variants of its loops a machine's processor chooses."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.runtime.aggregation.fedopt import power
from tests.unit.runtime.shared import steps

#: Of the rounds in `steps`, written down once: another machine, python or numpy must come to the same.
WRITTEN = Path(__file__).with_name("digests.json")
#: Without its fast variants glibc computes `pow` another way, and numpy its loops without wide registers.
PLAIN = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-AVX2",
    "NPY_DISABLE_CPU_FEATURES": "AVX512_SPR AVX512_ICL X86_V4 X86_V3",
}


@pytest.mark.parametrize("variant", [{}, PLAIN], ids=["as it is", "plain"])
def test_every_processor_comes_to_the_digests_that_are_written_down(variant: dict[str, str]) -> None:
    root = str(Path(steps.__file__).parents[4])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.unit.runtime.shared.steps"],
        env={**os.environ, **variant, "PYTHONPATH": root},
        cwd=root,
        capture_output=True,
        check=True,
        text=True,
    )
    assert json.loads(done.stdout) == json.loads(WRITTEN.read_text())


@given(base=st.floats(0, 1, exclude_max=True), exponent=st.integers(0, 2000))
def test_a_power_is_right_to_the_last_digits(base: float, exponent: int) -> None:
    exact = Fraction(base) ** exponent
    assert abs(Fraction(power(base, exponent)) - exact) <= (exponent + 1) * (exact * Fraction(2) ** -53 + 5e-324)
