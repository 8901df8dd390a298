"""The shape of the house: who imports whom, what an import costs, what stands at the top."""

from __future__ import annotations

import ast
import fnmatch
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import qframe

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "qframe"

FAMILIES = {
    "rest": re.compile(r"(\.|^)(rest\w*|json)$"),
    "grpc": re.compile(r"(\.|^)(grpc\w*|protobuf|_wire(\.\w+)?)$"),
    "embedded": re.compile(r"(\.|^)(embedded|edge_\w+)$"),
}

LIBRARIES = {"rest": "requests", "grpc": "grpc", "embedded": "qdrant_edge"}

TOP_LEVEL = {
    ".ci",
    ".git",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "environment.yml",
    "notebooks",
    "proto",
    "pyproject.toml",
    "qframe",
    "tests",
}


def module_name(path: Path) -> str:
    """Return what a file is imported as."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree, past what only the type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from runtime_nodes(child)


def imports(module: str) -> set[str]:
    """Return the modules of qframe that a module imports, inside of functions too."""
    found = set()
    for node in runtime_nodes(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            base = str(node.module)
            found |= {
                name if (name := f"{base}.{alias.name}") in MODULES else base
                for alias in node.names
            }
    return {name for name in found if name.partition(".")[0] == "qframe"}


def layer(module: str) -> str:
    """Return the part of a module's name that the map of the house speaks of."""
    return module.split(".")[1] if "." in module else ""


def layers() -> list[str]:
    """Read the order of the layers from the package's docstring."""
    text = " ".join(str(qframe.__doc__).split())
    order = re.search(r"imports only from those before it: (.+?)\.(?: |$)", text)
    assert order is not None, "the docstring of qframe gives no order"
    return re.split(r" <- |, ", order[1])


def test_every_module_has_its_place_in_the_map() -> None:
    """The order in the package's docstring names every module, and no module that is not there."""
    assert {layer(module) for module in MODULES} - {"", "_wire"} == set(layers())


@pytest.mark.parametrize("module", [name for name in MODULES if layer(name)])
def test_a_module_imports_only_from_those_before_it(module: str) -> None:
    """No import goes against the order in the package's docstring, not even inside a function."""
    order = ["_wire", *layers()]
    place = order.index(layer(module))
    against = {
        name
        for name in imports(module)
        if layer(name) != layer(module) and (not layer(name) or order.index(layer(name)) > place)
    }
    assert not against


@pytest.mark.parametrize("module", list(MODULES))
def test_transports_never_meet(module: str) -> None:
    """What belongs to REST, to gRPC or to the embedded engine imports nothing of the others."""
    own = {family for family, names in FAMILIES.items() if names.search(module)}
    met = {
        family
        for name in imports(module)
        for family, names in FAMILIES.items()
        if names.search(name)
    }
    assert len(own) <= 1
    assert not own or met <= own


def loaded_after(statement: str) -> set[str]:
    """Return the top-level modules that a statement loads in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return {name.partition(".")[0] for name in run.stdout.split()}


def test_import_is_light() -> None:
    """`import qframe` loads no transport, no display, and nothing that only some callers need."""
    loaded = loaded_after("import qframe")
    assert "pandas" in loaded
    assert not loaded & {
        "IPython",
        "google",
        "grpc",
        "ipywidgets",
        "qdrant_client",
        "qdrant_edge",
        "requests",
        "scipy",
        "sklearn",
        "tqdm",
    }


@pytest.mark.parametrize("family", list(LIBRARIES))
def test_a_transport_loads_its_own_library_alone(family: str) -> None:
    """Whoever uses one transport does not load the libraries of the others."""
    loaded = loaded_after(f"import qframe.uploaders.{family}, qframe.stores.{family}")
    assert loaded & {*LIBRARIES.values(), "qdrant_client"} <= {LIBRARIES[family]}


def test_modules_are_named_after_what_they_hold() -> None:
    """No module has a name under which everything could stand."""
    stems = {path.stem for folder in (PACKAGE, ROOT / "tests") for path in folder.rglob("*.py")}
    assert not stems & {"common", "helper", "helpers", "misc", "util", "utils"}


def test_no_module_hides_a_public_name() -> None:
    """Loading a module sets its name in the package, so nothing public has the name of one."""
    assert not set(qframe.__all__) & {layer(module) for module in MODULES}


def test_each_module_says_what_it_is() -> None:
    """Every module that holds something starts with a docstring."""
    trees = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
    assert not [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)]


def section(doc: str, title: str) -> list[str] | None:
    """Return the lines of one section of a numpydoc docstring."""
    lines = inspect.cleandoc(doc).splitlines()
    for at, line in enumerate(lines[:-1]):
        if line == title and set(lines[at + 1]) == {"-"}:
            rest = lines[at + 2 :]
            ends = [n for n, later in enumerate(rest) if n and set(later) == {"-"}]
            return rest[: ends[0] - 1] if ends else rest
    return None


def documented_names(lines: list[str]) -> set[str]:
    """Return the names that a section of parameters or attributes tells of."""
    heads = [line.partition(" : ")[0] for line in lines if line and not line.startswith(" ")]
    return {name.strip(" *") for head in heads for name in head.split(",")}


@pytest.mark.parametrize("name", qframe.__all__)
def test_public_names_are_documented(name: str) -> None:
    """A docstring of a public name tells of every parameter, and of what comes back."""
    thing = getattr(qframe, name)
    doc = inspect.getdoc(thing)
    assert doc
    assert doc.splitlines()[0].endswith(".")
    if inspect.isclass(thing) and "__init__" not in vars(thing):
        return  # an exception that adds nothing to its base
    told = documented_names((section(doc, "Parameters") or []) + (section(doc, "Attributes") or []))
    signature = inspect.signature(thing)
    assert set(signature.parameters) <= told
    if inspect.isfunction(thing):
        assert signature.return_annotation == "None" or section(doc, "Returns")


def test_nothing_new_stands_at_the_top() -> None:
    """The root of the repository holds what belongs there, apart from what git ignores."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    present = {
        path.name
        for path in ROOT.iterdir()
        if not any(fnmatch.fnmatch(path.name, pattern) for pattern in ignored)
    }
    assert present <= TOP_LEVEL
    assert TOP_LEVEL - {".git", ".gitignore"} <= present
