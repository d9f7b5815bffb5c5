"""The size of the warehouse of each step, by the settings of a stage."""

from deploy.stages import SETTINGS, Stage
from functions.platform.settings import SHARED

# The end of the settings with the size of a step's own warehouse.
STEP_SIZE = "_warehouse_size"


def step_warehouse_sizes(stage: Stage) -> dict[str, str]:
    """Return the size of each step's own warehouse, or SHARED, by the name of the step."""
    names = sorted(name for name in SETTINGS if name.endswith(STEP_SIZE))
    return {name.removesuffix(STEP_SIZE): getattr(stage, name) for name in names}


def warehouse_size(stage: Stage, step: str) -> str:
    """Return the size of the warehouse that a step runs on: its own one's, or the pipeline's."""
    own = step_warehouse_sizes(stage).get(step, SHARED)
    return stage.warehouse_size if own == SHARED else own
