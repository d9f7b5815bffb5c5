"""Files of shops, one per shop and named after it: rules/<shop>.yaml and experiments/<shop>.toml."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from deploy.stages import STAGES_FILE, read_stage, stage_names

# It keeps a folder in the repository when its last file is removed: vendor/ links to the folder.
README = "README.md"
T = TypeVar("T")


def read_shop_files(
    kind: str,
    folder: Path,
    suffix: str,
    shops: Iterable[str],
    read: Callable[[Path], T],
    invalid: type[Exception],
) -> tuple[dict[str, T], list[str]]:
    """Return the content of each shop's file, and the problems of the others.

    Args:
        kind: the folder's name in the repository, for messages.
        folder: the folder of the files.
        suffix: the suffix of the files.
        shops: the shops of all stages.
        read: reads a file.
        invalid: the error of `read` whose message is a problem.
    """
    known = sorted(set(shops))
    found: dict[str, T] = {}
    problems: list[str] = []
    for path in sorted(folder.iterdir()):
        name = f"{kind}/{path.name}"
        if path.name == README:
            continue
        if path.suffix != suffix:
            problems.append(f"{name} is no {suffix} file: only those are read. Move it elsewhere")
        elif path.stem not in known:
            problems.append(
                f"{name}: no stage has a shop {path.stem!r}. Name the file after a shop of "
                f"deploy/{STAGES_FILE.name}: {', '.join(known)}"
            )
        else:
            try:
                found[path.stem] = read(path)
            except invalid as error:
                problems.append(str(error))
    return found, problems


def shops_of_all_stages() -> set[str]:
    """Return the shops of deploy/stages.toml."""
    return {shop for name in stage_names() for shop in read_stage(name).shops}
