"""The first model of a private or an encrypted job: the app's `@app.query("initial")`, called where there is no data.

Run by the init container app-check (`hanse.runtime.trainer.main check`). It leaves the reply in a volume that only the
gate has beside it, so that neither the server nor an app that sees data chooses the model that a job begins with. The
app gets the columns and ranges that the owner has published, the plan's seed (`seed` in run config and message), and no
`data-path`. Here is also said, in words that may leave, whether noise and lanes fit a model of this size.
"""

import io
import traceback
from pathlib import Path

from hanse.api.exitcodes import ExitCode
from hanse.api.runconfig import InitialConfig
from hanse.runtime.codec import Codec, CodecError, Layout, PublicSeed, SumCodec
from hanse.runtime.durable import replace_file
from hanse.runtime.flower import client
from hanse.runtime.gate.frames import Frame, head_of
from hanse.runtime.gate.initial import FILE, NoInitialModel, check_unit, read_initial
from hanse.runtime.trainer.errors import TrainerExit


def make_initial(app: client.App, config: InitialConfig, directory: Path) -> None:
    """Call the app and keep its reply. Raises TrainerExit with CONFIG_INVALID when there is none to keep."""
    from hanse.runtime.flower import wire

    try:
        content = client.call(app, client.initial_task(config))
    # The app is a stranger's code; its traceback is for its author, and there is no data that it could tell of.
    except Exception as error:
        text = f'the app gave no initial model without data (@app.query("initial")):\n{traceback.format_exc()}'
        raise TrainerExit(ExitCode.CONFIG_INVALID, text) from error
    blobs = wire.pack(content)
    whole = io.BytesIO()
    for piece in (head_of(Frame("initial", {}, blobs)), *blobs):
        whole.write(piece)
    replace_file(directory / FILE, whole.getvalue())
    try:
        _, arrays = read_initial(directory)
        if config.privacy is not None:
            check_unit(arrays, config.privacy.unit)
        # The gate asks the same, but what it says stays in the owner's namespace.
        _try_rounds(Layout.of(arrays, config.personal_layers), config)
    except (NoInitialModel, CodecError) as error:
        raise TrainerExit(ExitCode.CONFIG_INVALID, str(error)) from error


def _try_rounds(layout: Layout, config: InitialConfig) -> None:
    """Raises CodecError when a round has no grid on which the plan's noise fits the lanes."""
    plan, encryption = config.privacy, config.encryption
    for number in range(1, (1 if plan is None else plan.rounds) + 1):
        if encryption is None:
            Codec.of(layout, PublicSeed("", number, 1), plan, config.compression)
        else:
            members = [(float(member.scale), float(member.mass)) for member in encryption.roster]
            reach = float(encryption.range or 1) if plan is None else None
            SumCodec.of(layout, number, "", members, plan, config.compression, reach)
