"""The noise of one release, drawn once; the gate makes one for each attempt."""

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.noise.errors import StreamReusedError
from hanse.runtime.noise.sampler import sampler
from hanse.runtime.noise.stream import ChaChaStream, Stream


class ReleaseNoise:
    """One draw of a vector under a key that nothing else uses.

    The key is taken from the operating system when this is made, so make it in the process that draws. A release that
    is to be sent again is sent from its stored bytes; another attempt needs another ReleaseNoise.
    """

    def __init__(self, stream: Stream | None = None) -> None:
        self._stream: Stream | None = ChaChaStream.fresh() if stream is None else stream

    def draw(self, sigma: float, count: int) -> NDArray[np.int64]:
        """`count` independent discrete Gaussians of parameter `sigma`, int64, in grid steps.

        Raises StreamReusedError on a second call or after a fork, SigmaError for a sigma that no table holds.
        """
        chosen = sampler(sigma)  # before the stream is taken: a refused sigma draws nothing
        stream, self._stream = self._stream, None
        if stream is None:
            raise StreamReusedError("the noise of a release is drawn once")
        return chosen.draw(stream, count)

    def __reduce__(self) -> str:
        raise StreamReusedError("the noise of a release is not copied")
