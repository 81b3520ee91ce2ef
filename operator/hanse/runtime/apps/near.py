"""Near matches for a name that is not there; used in the built-in apps' errors."""

import difflib
from collections.abc import Iterable


def hint(name: str, candidates: Iterable[str], limit: int = 3) -> str:
    """`; did you mean X or Y?`, or an empty string."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    found = difflib.get_close_matches(name.casefold(), list(by_folded), n=limit, cutoff=0.6)
    return f"; did you mean {' or '.join(by_folded[key] for key in found)}?" if found else ""
