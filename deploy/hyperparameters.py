"""Hyperparameters of the training job, read as the job reads them, before anything is deployed or started."""

from collections.abc import Mapping

from deploy.stages import STAGES_FILE, Stage, StageError, setting_text


def refusal(values: Mapping[str, str | int | float]) -> str | None:
    """Return why the training job would refuse these hyperparameters, or None."""
    # The job's module imports torch, which takes seconds.
    from training_jobs.train import SettingsError, parser, settings_of

    try:
        settings_of(
            parser().parse_args([f"--{name}={setting_text(value)}" for name, value in values.items()])
        )
    except SettingsError as error:
        return str(error)
    return None


def require_hyperparameters(stage: Stage) -> None:
    """Check the hyperparameters of every shop. Otherwise its next training would fail, after a night's other steps.

    Raises:
        StageError: the training job has no hyperparameter of this name, or refuses its value.
    """
    for shop, values in stage.hyperparameters.items():
        if reason := refusal(values):
            raise StageError(
                f"stage {stage.name} has wrong hyperparameters of {shop}: {reason}. Correct "
                f"[{stage.name}.hyperparameters.{shop}] in deploy/{STAGES_FILE.name}; docs/settings.md lists them"
            )
