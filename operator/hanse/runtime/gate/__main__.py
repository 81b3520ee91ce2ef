"""`python3 -m hanse.runtime.gate`."""

import sys

from hanse.runtime.gate.main import main

sys.exit(main())
