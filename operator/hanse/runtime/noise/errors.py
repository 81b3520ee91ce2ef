"""What can go wrong with noise; whoever catches one of these releases nothing.

NoiseError
├── SigmaError          a standard deviation outside of what the tables hold
├── SamplerDeltaError   the sampler's distance from the exact law is more than 1 % of delta
└── StreamReusedError   a stream was asked a second time, or in another process than the one that made it
"""


class NoiseError(Exception):
    """No noise can be drawn."""


class SigmaError(NoiseError):
    """A standard deviation outside of what the tables hold."""


class SamplerDeltaError(NoiseError):
    """The sampler's distance from the exact law is more than 1 % of delta."""


class StreamReusedError(NoiseError):
    """A stream was asked a second time, or in another process than the one that made it."""
