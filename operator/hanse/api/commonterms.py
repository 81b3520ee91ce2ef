"""`EncryptionPlan.terms`: one hash of all that the participants of an encrypted job act on alike.

The operator (or `hanse run`) computes it from the job, each gate from its own client.json, and refuses another: gates
that were told different things never sign for one agreement.
"""

from collections.abc import Mapping, Sequence

from hanse.api.aggregation import Aggregation
from hanse.api.compression import Compression
from hanse.api.planhash import canonical_hash
from hanse.api.privacy import PrivacyPlan


def common_terms(
    *,
    images: tuple[str | None, str | None],
    client_app: str,
    config: Mapping[str, str],
    personal_layers: Sequence[str],
    initial_seed: int | None,
    aggregation: Aggregation,
    compression: Compression | None,
    privacy: PrivacyPlan | None,
    smallest_batch: int | None,
) -> str:
    """`sha256:…`. `images` are gate and trainer; of `privacy` what is an owner's own (batch, adversary) is left out."""
    # The same plan for all: every adversary gives the same noise.
    shared = privacy.for_owner(None, "ServerAndOne").to_wire() if privacy is not None else None
    return canonical_hash(
        {
            "images": list(images),
            "clientApp": client_app,
            "config": dict(config),
            "personalLayers": list(personal_layers),
            "initialSeed": initial_seed or 0,
            "aggregation": aggregation.to_wire(),
            "compression": compression.to_wire() if compression is not None else None,
            "privacy": shared,
            "smallestBatch": smallest_batch,
        }
    )
