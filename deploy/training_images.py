"""Look up AWS's PyTorch containers for training with the SageMaker SDK, and record them in training_images.json.

Needs `pip install -c constraints.txt -e '.[deploy]'`. Only this command imports the SDK, so that deploying stays light.
"""

import json
import sys

from deploy.command import command_parser
from deploy.stages import IMAGES_FILE

# The framework's name in the SDK, and its version. AWS's images on Amazon Linux 2023 follow PyTorch's releases.
TRAINING = ("pytorch-amzn2023", "2.13")


def look_up(region: str) -> dict[str, str]:
    """Return the addresses of a region's containers, one for CPUs and one for GPUs."""
    from sagemaker.core import image_uris

    framework, version = TRAINING
    return {
        "training_cpu": image_uris.retrieve(
            framework, region, version=version, instance_type="ml.m5.xlarge", image_scope="training"
        ),
        "training_gpu": image_uris.retrieve(
            framework, region, version=version, instance_type="ml.g5.xlarge", image_scope="training"
        ),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = command_parser("deploy.training_images", __doc__, "--region eu-west-1")
    parser.add_argument(
        "--region", action="append", help="a region to look up; default: those in training_images.json"
    )
    args = parser.parse_args(arguments)
    recorded: dict[str, dict[str, str]] = json.loads(IMAGES_FILE.read_text()) if IMAGES_FILE.exists() else {}
    try:
        for region in args.region or sorted(recorded):
            recorded[region] = look_up(region)
            for kind, address in recorded[region].items():
                print(f"{region} {kind}: {address}")
    except ModuleNotFoundError as error:
        print(
            f"{error}. Install the SDK first: pip install -c constraints.txt -e '.[deploy]'", file=sys.stderr
        )
        return 1
    IMAGES_FILE.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")
    print(f"wrote {IMAGES_FILE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
