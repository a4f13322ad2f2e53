"""Recipe files: Python modules of users, each with a recipe's settings and functions for its networks."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from ganport.runtime.display import first_line

from .errors import RecipeError
from .recipe import Recipe

# Packages of ganport that were top-level packages in former versions.
_FORMER_NAMES = ("cli", "cluster", "commands", "evaluation", "export", "runtime", "server", "trainer", "web")
_FRONT_DOOR = {
    "Optimizer",
    "Recipe",
}  # names that recipe files import from `ganport`, not from a package in it

# The recipes that were loaded from files in this process, each with the content of its file at that time.
_LOADED: list[tuple[Recipe, bytes]] = []


def load_recipe_file(path: Path, *, as_published: bool = False) -> Recipe:
    """Execute an existing recipe file, and return the recipe that the file defines.

    Raises:
        RecipeError: The code of the file raises an error, or the file defines no valid recipe.
    """
    content = path.read_bytes()
    _check_imports(path, content)
    module = _execute(path)
    recipe = recipe_of(module, str(path), as_published=as_published)
    _LOADED.append((recipe, content))
    return recipe


def file_content(recipe: Recipe) -> bytes | None:
    """Return the content of the recipe file that defines a recipe's networks; None if no file does."""
    for loaded, content in reversed(_LOADED):
        if has_networks_of(recipe, loaded):
            return content
    return None


def has_networks_of(recipe: Recipe, other: Recipe) -> bool:
    """Return whether two recipes build their networks with the same functions."""
    is_generator = recipe.build_generator is other.build_generator
    return is_generator and recipe.build_discriminator is other.build_discriminator


def recipe_of(module: ModuleType, source: str, *, as_published: bool = False) -> Recipe:
    """Return the recipe that a module defines.

    The settings are those of RECIPE in the module, or of AS_PUBLISHED if `as_published` is true. The networks
    are built by the functions build_generator and build_discriminator of the module. If the module does not
    define one of these functions, the function in the settings is used instead.

    Args:
        module: The module.
        source: Name of the recipe or path of the file, for error messages.
        as_published: Whether to return the published settings, AS_PUBLISHED.

    Raises:
        RecipeError: The settings or a function for a network are missing.
    """
    settings = getattr(module, "RECIPE", None)
    if not isinstance(settings, Recipe):
        raise RecipeError(
            f"{source} has no RECIPE, which must be a ganport.Recipe; docs/recipes.md shows a complete "
            "recipe."
        )
    if as_published:
        name, settings = settings.name, getattr(module, "AS_PUBLISHED", None)
        if not isinstance(settings, Recipe):
            raise RecipeError(
                f"Recipe {name!r} follows no description, so it has no published settings; leave out "
                "`as_published`."
            )
    generator = getattr(module, "build_generator", settings.build_generator)
    discriminator = getattr(module, "build_discriminator", settings.build_discriminator)
    for name, function in (("build_generator", generator), ("build_discriminator", discriminator)):
        if not callable(function):
            raise RecipeError(f"{source} has no function {name}; docs/recipes.md shows a complete recipe.")
    return dataclasses.replace(settings, build_generator=generator, build_discriminator=discriminator)


def _execute(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"ganport_recipe_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 (the path ends in .py)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # `dataclasses` looks up the module of a class in sys.modules
    try:
        spec.loader.exec_module(module)
    except RecipeError:
        raise
    except Exception as error:  # the user's code may raise anything
        problem = f"{type(error).__name__}: {first_line(error)}"
        raise RecipeError(f"{path}, line {_line_in(path, error)}: {problem}.") from error
    return module


def _line_in(path: Path, error: Exception) -> int | str:
    """Return the number of the line in a recipe file that caused an error; "?" if the line is unknown.

    If the error was raised in other code, the line is the last one of the file in the traceback.
    """
    if isinstance(error, SyntaxError) and error.lineno:
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.resolve() and frame.lineno]
    return lines[-1] if lines else "?"


def _check_imports(path: Path, content: bytes) -> None:
    """Raise RecipeError if a file imports a package of ganport by its former name, such as `trainer`.

    In a clone of the repository, `import trainer` would succeed and load a second copy of the package. The
    class Recipe of the second copy differs from the class Recipe of ganport, so the recipe would be rejected.
    """
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return  # the error is reported, with its line, when the file is executed
    for node in ast.walk(tree):
        for module in _imported_modules(node):
            if _is_former_name(module):
                line = getattr(node, "lineno", "?")
                raise RecipeError(
                    f"{path}, line {line}: `{ast.unparse(node)}` uses the former name of a package; write "
                    f"`{_new_import(node)}`."
                )


def _imported_modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module


def _is_former_name(module: str) -> bool:
    """Return whether a name is the former name of a package of ganport, and not a module of the user."""
    top = module.partition(".")[0]
    if top not in _FORMER_NAMES:
        return False
    spec = importlib.util.find_spec(top)
    return spec is None or _is_in_clone(spec)


def _is_in_clone(spec: ModuleSpec) -> bool:
    """Return whether ganport is imported from a clone of its repository, and a module lies in this clone."""
    root = Path(__file__).resolve().parents[1]
    if (root / "__init__.py").exists():  # ganport is installed: its packages lie in the folder ganport
        return False
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    origins = [Path(spec.origin)] if spec.origin else []
    return any(path.resolve().is_relative_to(root) for path in (*folders, *origins))


def _new_import(node: ast.AST) -> str:
    """Return an import statement with the former names of packages replaced by their present names."""
    if isinstance(node, ast.ImportFrom):
        names = sorted(node.names, key=lambda alias: alias.name)
        is_front = {alias.name for alias in names} <= _FRONT_DOOR
        module = "ganport" if is_front else f"ganport.{node.module}"
        return ast.unparse(ast.ImportFrom(module=module, names=names, level=0))
    assert isinstance(node, ast.Import)  # noqa: S101
    new = [
        ast.alias(f"ganport.{alias.name}" if _is_former_name(alias.name) else alias.name, alias.asname)
        for alias in node.names
    ]
    return ast.unparse(ast.Import(names=new))
