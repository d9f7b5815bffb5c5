"""SageMaker starts this with the unpacked source as its working directory."""

from training_jobs.train import main

if __name__ == "__main__":
    raise SystemExit(main())
