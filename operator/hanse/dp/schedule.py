"""Noise schedules: the noise of each round relative to the first one's. Called by `resolve`."""

from hanse.api.privacy import Schedule
from hanse.dp.errors import BadSchedule


def factors(schedule: Schedule, rounds: int) -> list[float]:
    """One factor above 0 for each round; the first is 1 except for List, which is as given.

    Linear and Geometric go from 1 in the first round to finalRatio in the last. The order of the factors does not
    change epsilon. Raises BadSchedule if a list has another length, or there is no round.
    """
    if rounds < 1:
        raise BadSchedule("a schedule needs at least one round")
    if schedule.kind == "List":
        if len(schedule.multipliers) != rounds:
            raise BadSchedule(
                f"schedule.multipliers has {len(schedule.multipliers)} entries for {rounds} rounds: give one for each"
            )
        return [float(value) for value in schedule.multipliers]
    ratio = float(schedule.final_ratio or 1)
    parts = [number / (rounds - 1) for number in range(rounds)] if rounds > 1 else [0.0]
    if schedule.kind == "Linear":
        return [1 + (ratio - 1) * part for part in parts]
    if schedule.kind == "Geometric":
        return [ratio**part for part in parts]
    if schedule.kind == "Constant":
        return [1.0] * rounds
    raise BadSchedule(f"{schedule.kind} is no known schedule")
