"""Look up AWS's PyTorch containers for training, in every region, and record them in training_images.json.

Runs with the SageMaker SDK, in its own environment: make training-images. Deployments read the file and need no SDK.
"""

import argparse
import json
import sys

from deploy.stages import IMAGES_FILE

# The framework's name in the SDK, and its version. AWS's images on Amazon Linux 2023 follow PyTorch's releases.
FRAMEWORK, VERSION = "pytorch-amzn2023", "2.13"
# One instance type without and one with a GPU: the SDK picks the container by it.
INSTANCE_TYPES = {"training_cpu": "ml.m5.xlarge", "training_gpu": "ml.g5.xlarge"}


def look_up() -> dict[str, dict[str, str]]:
    """Return the addresses of each region's containers, one for CPUs and one for GPUs."""
    from sagemaker.core import image_uris

    table = image_uris.config_for_framework(FRAMEWORK)["training"]["versions"][VERSION]
    return {
        region: {
            kind: image_uris.retrieve(
                FRAMEWORK, region, version=VERSION, instance_type=instance_type, image_scope="training"
            )
            for kind, instance_type in INSTANCE_TYPES.items()
        }
        for region in sorted(table["registries"])
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.training_images",
        description=__doc__,
        epilog="example: python -m deploy.training_images --check",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is outdated")
    args = parser.parse_args(arguments)
    try:
        found = look_up()
    except ModuleNotFoundError as error:
        print(f"{error}: this Python has no SageMaker SDK. Run make training-images", file=sys.stderr)
        return 1
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    if args.check:
        outdated = IMAGES_FILE.read_text() != text
        if outdated:
            print(
                f"{IMAGES_FILE.name} is not the SDK's table. Write it: make training-images", file=sys.stderr
            )
        return int(outdated)
    IMAGES_FILE.write_text(text)
    print(f"wrote {IMAGES_FILE.name}: {len(found)} regions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
