"""SageMaker's PyTorch container imports this from the model's code/ directory."""

from training_jobs.inference import input_fn, model_fn, output_fn, predict_fn

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]
