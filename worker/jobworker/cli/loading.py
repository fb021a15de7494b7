"""Finds the application that ``module:attribute`` names, and says what is wrong where it does not."""

from __future__ import annotations

import importlib
import os
import sys

from jobworker.app import App
from jobworker.errors import ConfigurationError


def load(target: str) -> App:
    """Import ``module:attribute`` (``app`` without an attribute); the working directory can be imported from.

    Raises:
        ConfigurationError: no such module, no such attribute, or no App.
    """
    module_name, _, attribute = target.partition(":")
    attribute = attribute or "app"
    if not module_name:
        raise ConfigurationError(f"{target!r} names no module; write MODULE:APP, for example shop:app")
    folder = os.getcwd()  # noqa: PTH109  # sys.path holds strings
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise ConfigurationError(
                f"there is no module {module_name}; looked in {folder} and in the PYTHONPATH"
            ) from error
        raise  # the module is there, and something that it imports is not: its own traceback tells more
    found = getattr(module, attribute, None)
    if isinstance(found, App):
        return found
    apps = sorted(name for name, value in vars(module).items() if isinstance(value, App))
    hint = f"it has {', '.join(f'{module_name}:{name}' for name in apps)}" if apps else "it has no App at all"
    if found is None:
        raise ConfigurationError(f"{module_name} has no attribute {attribute}; {hint}")
    kind = type(found).__name__
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    raise ConfigurationError(f"{module_name}:{attribute} is {article} {kind}, no App; {hint}")
