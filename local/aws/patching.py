"""Tools for patches of moto: functions that other modules imported by name, and resources of templates."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
from collections.abc import Callable
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


def patch_resource_type(
    model: Any,
    before: Callable[[dict[str, Any]], None] = lambda properties: None,
    after: Callable[[Any, dict[str, Any]], None] = lambda resource, properties: None,
) -> None:
    """Call `before` and `after` around the creation and the update of a resource from a template.

    Both get the properties of the resource in the template; `before` may change them.
    """
    for name in ("create_from_cloudformation_json", "update_from_cloudformation_json"):
        setattr(model, name, classmethod(_wrapped(getattr(model, name).__func__, before, after)))


def _wrapped(original: Any, before: Any, after: Any) -> Any:
    def create_or_update(cls: Any, *args: Any, **kwargs: Any) -> Any:
        template = next(value for value in (*args, *kwargs.values()) if isinstance(value, dict))
        before(template["Properties"])
        resource = original(cls, *args, **kwargs)
        after(resource, template["Properties"])
        return resource

    return create_or_update
