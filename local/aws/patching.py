"""Replacement of functions that other modules have imported by name."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
from typing import Any

import moto.stepfunctions.parser.asl as asl

_loaded = False


def replace_everywhere(name: str, old: Any, new: Any) -> None:
    """Replace `old` by `new` in every module of moto's interpreter that imported it under this name."""
    global _loaded
    if not _loaded:  # a later import would get the old function
        for info in pkgutil.walk_packages(asl.__path__, asl.__name__ + "."):
            with contextlib.suppress(
                ImportError
            ):  # one module of moto 5.2.5 imports a package that is not there
                importlib.import_module(info.name)
        _loaded = True
    for module in list(sys.modules.values()):
        if module is not None and vars(module).get(name) is old:
            setattr(module, name, new)
