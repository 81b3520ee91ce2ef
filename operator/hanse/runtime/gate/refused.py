"""The one error of what decides on leaving (`hanse.runtime.refused`), under the name that the gate's modules use."""

from hanse.runtime.refused import Refused

__all__ = ["Refused"]
