"""How strictly an API server's certificate is verified. Used by `cluster` and `handlers`, for API servers alone."""

import ssl


def as_client_go(context: ssl.SSLContext) -> ssl.SSLContext:
    """Drop what Python 3.13 asks beyond client-go: API servers without an authority key identifier are common.

    Chain, name and validity are verified as before.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
