"""Noise for differential privacy: the exact discrete Gaussian, drawn from ChaCha20 with a key for each release.

Called by the codec and the gate; knows nothing of messages or models. The guarantee rests on two things that are
stated beside the code: how far the drawn law is from the exact one (`sampler_delta`), and that no stream of random
bytes is used twice (`ReleaseNoise`).
"""

from hanse.runtime.noise.errors import NoiseError, SamplerDeltaError, SigmaError, StreamReusedError
from hanse.runtime.noise.release import ReleaseNoise
from hanse.runtime.noise.sampler import (
    FINE_SIGMA,
    MAX_SIGMA,
    MIN_SIGMA,
    Sampler,
    sampler,
    sampler_delta,
    total_variation,
)
from hanse.runtime.noise.stream import ChaChaStream, Stream

__all__ = [
    "FINE_SIGMA",
    "MAX_SIGMA",
    "MIN_SIGMA",
    "ChaChaStream",
    "NoiseError",
    "ReleaseNoise",
    "Sampler",
    "SamplerDeltaError",
    "SigmaError",
    "Stream",
    "StreamReusedError",
    "sampler",
    "sampler_delta",
    "total_variation",
]
