"""What a gate says of itself in each pull: the id of the message that it took last, or one of these two words.

Used by `fleet` (the gate's side) and `link_recover` (the SuperLink's). Message ids are 64 hexadecimal digits.
"""

from typing import Final

#: A gate without a past: what was delivered to this node before went to somebody else, who may have worked on it.
UNKNOWN: Final = "unknown"
#: This gate has pulled before and was given nothing.
NOTHING: Final = "nothing"
