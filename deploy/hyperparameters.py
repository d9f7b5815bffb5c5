"""The hyperparameters that stages.toml gives to a shop's training, read as the training job reads them."""

from deploy.stages import STAGES_FILE, Stage, StageError, setting_text


def require_hyperparameters(stage: Stage) -> None:
    """Check the hyperparameters of every shop. Otherwise its next training would fail, after a night's other steps.

    Raises:
        StageError: the training job has no hyperparameter of this name, or refuses its value.
    """
    if not stage.hyperparameters:
        return
    # The job's module imports torch, which takes seconds.
    from training_jobs.train import SettingsError, parser, settings_of

    for shop, values in stage.hyperparameters.items():
        arguments = [f"--{name}={setting_text(value)}" for name, value in values.items()]
        try:
            settings_of(parser().parse_args(arguments))
        except SettingsError as error:
            raise StageError(
                f"stage {stage.name} has wrong hyperparameters of {shop}: {error}. Correct "
                f"[{stage.name}.hyperparameters.{shop}] in deploy/{STAGES_FILE.name}; docs/settings.md lists them"
            ) from None
