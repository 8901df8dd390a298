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
from qframe.names import HOMES

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


def run_fresh(code: str) -> str:
    """Return what a fresh interpreter prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def loaded_after(statement: str, before: str = "") -> set[str]:
    """Return the modules that a statement loads in a fresh interpreter, after another one."""
    code = (
        f"import sys\n{before}\nknown = {{*sys.modules}}\n{statement}\n"
        "print(*{*sys.modules} - known)"
    )
    return {*run_fresh(code).split()}


def tops(modules: set[str]) -> set[str]:
    """Return the names of packages."""
    return {name.partition(".")[0] for name in modules}


def test_import_is_light() -> None:
    """`import qframe` loads a handful of small modules and, after pandas, nothing of others."""
    loaded = loaded_after("import qframe", before="import pandas")
    own = {name for name in loaded if name.partition(".")[0] == "qframe"}
    assert own == {"qframe", "qframe.accessor", "qframe.errors", "qframe.names", "qframe.version"}
    assert loaded == own
    assert "pandas" in loaded_after("import qframe")


def test_an_upload_loads_only_what_every_upload_needs() -> None:
    """What some uploads need, for a transport, a display or a mistake, waits until they need it."""
    loaded = loaded_after("import qframe.uploading", before="import pandas")
    assert not loaded & {"asyncio", "difflib", "email.utils", "html", "importlib.metadata"}
    assert not tops(loaded) & {*LIBRARIES.values(), "IPython", "google", "multiprocessing", "tqdm"}


def test_looking_at_a_frame_loads_nothing() -> None:
    """What completes `df.` and `qframe.` asks for every name, and loads nothing by that."""
    statement = "dir(qframe), dir(frame), hasattr(frame, 'qdrant'), dir(frame.qdrant)"
    before = "import pandas, qframe; frame = pandas.DataFrame({'a': [1]})"
    assert not tops(loaded_after(statement, before)) & {"qframe", *LIBRARIES.values()}


def test_every_public_name_is_there() -> None:
    """A name of `__all__` is shown and can be had, be it loaded at once or when it is asked for."""
    assert {*qframe.__all__} <= {*dir(qframe)}
    assert {*HOMES} <= {*qframe.__all__}
    code = "from qframe import *; print(*globals())"
    assert {*qframe.__all__} <= {*run_fresh(code).split()}
    for name, home in HOMES.items():
        thing = getattr(qframe, name)
        assert (thing.__module__, thing.__name__) == (home, name)
    with pytest.raises(AttributeError, match="no attribute 'uplod'"):
        qframe.uplod  # type: ignore[attr-defined]  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    """What is imported for type checkers alone is what is loaded when it is asked for."""
    blocks = [
        node
        for node in ast.parse(MODULES["qframe"].read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    told = {
        alias.name: node.module
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == HOMES


MEETING = """
import sys, threading
import pandas as pd, qframe

sys.setswitchinterval(1e-6)
meet = threading.Barrier(len(qframe.names.HOMES) + 1)
failed = []

def ask(thing, name):
    meet.wait()
    try:
        getattr(thing, name)
    except BaseException as error:
        failed.append(error)

asked = [(qframe, name) for name in qframe.names.HOMES] + [(qframe.QdrantAccessor, "verify")]
threads = [threading.Thread(target=ask, args=one) for one in asked]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(failed)
"""


def test_threads_may_ask_for_the_first_time_together() -> None:
    """Threads that ask for different names at the same time all get what they ask for."""
    for _ in range(5):
        assert run_fresh(MEETING).strip() == "[]"


@pytest.mark.parametrize("family", list(LIBRARIES))
def test_a_transport_loads_its_own_library_alone(family: str) -> None:
    """Whoever uses one transport does not load the libraries of the others."""
    loaded = loaded_after(f"import qframe.uploaders.{family}, qframe.stores.{family}")
    assert tops(loaded) & {*LIBRARIES.values(), "qdrant_client"} <= {LIBRARIES[family]}


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
