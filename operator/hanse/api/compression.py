"""Smaller messages: a part of the FederatedJob's spec. The gate compresses, the aggregator decodes."""

from typing import ClassVar, Final, Literal

from pydantic import Field

from hanse.api.meta import ApiModel, PositiveDecimal
from hanse.api.rules import Rule, between

#: Width of a lane with neither quantisation nor differential privacy's own: plain integers of 32 bits.
FULL_BITS: Final = 32


class Sparsity(ApiModel):
    """Random-k: each round sends other entries, chosen from plan, round and attempt, never from the server or data."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        between("fraction", "fraction", low="0.0", high="1.0", open_low=True, open_high=True),
    )

    fraction: PositiveDecimal = Field(description="Share of the entries that is sent, greater than 0 and less than 1.")


class Compression(ApiModel):
    """How updates are made smaller; with differential privacy or without."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.quantizationBits) || has(self.sparsity)",
            message="quantizationBits or sparsity: set at least one, or remove compression",
            holds=lambda c: c.quantization_bits is not None or c.sparsity is not None,
            field="quantizationBits",
        ),
    )

    quantization_bits: Literal[8, 15] | None = Field(
        default=None, description="Bits of an entry: 8 or 15; without it 32 (with differential privacy: as an integer)."
    )
    sparsity: Sparsity | None = Field(default=None, description="Send a random share of the entries.")
    error_feedback: bool = Field(
        default=False,
        description="Add what a round left out to the next one, before the clip. Not with unit Record: it would carry "
        "records into rounds that did not draw them.",
    )
