"""`python3 -m hanse.runtime.trainer`."""

import sys

from hanse.runtime.trainer.main import main

sys.exit(main())
