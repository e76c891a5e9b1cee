"""What the code of the project never does, by its syntax: run text, read pickles, trust other code, unpack blindly.

`SECURITY.md` says what each kind of file can do; the tests that it names show it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("bioscan_hf", "dataset_script", "examples", "tools", "benchmarks")
FILES = sorted({path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")} | set(ROOT.glob("*.py")))
# The one module that may read a pickle, by torch's restricted reader.
READS_PICKLES = ROOT / "bioscan_hf" / "models" / "legacy_checkpoints.py"

# Why a call is none that may be there, by its name, whatever stands before the last parts.
NEVER = {
    "eval": "runs text",
    "exec": "runs text",
    "compile": "makes code of text",
    "__import__": "imports by name",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "subprocess.getoutput": "runs a shell",
    "pickle.load": "runs what a file says",
    "pickle.loads": "runs what a file says",
    "pickle.Unpickler": "runs what a file says",
    "cloudpickle.load": "runs what a file says",
    "dill.load": "runs what a file says",
    "joblib.load": "runs what a file says",
    "marshal.loads": "reads code",
    "shelve.open": "reads pickles",
    "pandas.read_pickle": "reads pickles",
    "pd.read_pickle": "reads pickles",
    "yaml.load_all": "may make any object",
    "yaml.unsafe_load": "makes any object",
    "yaml.full_load": "may make many objects",
    "tempfile.mktemp": "another may take the name",
    "shutil.unpack_archive": "writes where the archive says",
    "torch.hub.load": "runs code from elsewhere",
}
METHODS = {"extractall": "writes where the archive says"}
# Arguments that may not have these values.
ARGUMENTS = {"shell": True, "verify": False, "trust_remote_code": True, "allow_pickle": True, "weights_only": False}


def dotted(node: ast.expr) -> str:
    """The name of what is called, as `torch.load`."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def full_names(nodes: list[ast.AST]) -> dict[str, str]:
    """What names that are imported stand for."""
    found: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def dangers(code: str, *, reads_pickles: bool = False) -> Iterator[str]:
    """What must not be there: line and reason."""
    nodes = list(ast.walk(ast.parse(code)))
    known = full_names(nodes)
    for node in nodes:
        reasons: Iterator[str] = iter(())
        if isinstance(node, ast.Call):
            first, dot, rest = dotted(node.func).partition(".")
            reasons = of_call(known.get(first, first) + dot + rest, node, nodes, reads_pickles)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            reasons = of_defaults(node.args)
        yield from (f"line {getattr(node, 'lineno', 0)}: {reason}" for reason in reasons)


def of_call(name: str, node: ast.Call, nodes: list[ast.AST], reads_pickles: bool) -> Iterator[str]:
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if reason := NEVER.get(name) or METHODS.get(name.rpartition(".")[2]):
        yield f"`{name}` {reason}"
    if name == "torch.load":
        if not reads_pickles:
            yield "`torch.load` reads pickles; use `read_checkpoint`"
        if not is_constant(given.get("weights_only"), True):
            yield "`torch.load` needs `weights_only=True`"
    if name == "yaml.load":
        loader = given.get("Loader", node.args[1] if len(node.args) > 1 else None)
        if loader is None or not is_safe_loader(dotted(loader), nodes):
            yield "`yaml.load` needs a loader that is safe"
    for argument, value in ARGUMENTS.items():
        if is_constant(given.get(argument), value):
            yield f"`{argument}={value}`"


def of_defaults(arguments: ast.arguments) -> Iterator[str]:
    for argument, default in defaults(arguments):
        # An option `--verify` is none of a connection.
        if argument != "verify" and argument in ARGUMENTS and is_constant(default, ARGUMENTS[argument]):
            yield f"`{argument}={ARGUMENTS[argument]}` is a default"


def defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr | None]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    given = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    for argument, default in [
        *zip(positional, given, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]:
        yield argument.arg, default


def is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def is_safe_loader(name: str, nodes: list[ast.AST]) -> bool:
    """Whether it is PyYAML's safe loader, or a class in the same file that is one."""
    safe = {"yaml.SafeLoader", "yaml.CSafeLoader", "SafeLoader", "CSafeLoader"}
    safe |= {
        node.name for node in nodes if isinstance(node, ast.ClassDef) and {dotted(base) for base in node.bases} & safe
    }
    return name in safe


def test_nothing_dangerous_is_in_the_code() -> None:
    assert len(FILES) > 250
    found = {
        str(path.relative_to(ROOT)): list(dangers(path.read_text(), reads_pickles=path == READS_PICKLES))
        for path in FILES
    }
    assert not {path: reasons for path, reasons in found.items() if reasons}


def test_pickles_are_read_in_one_place() -> None:
    assert "torch.load(path" in READS_PICKLES.read_text()
    assert [reason for reason in dangers(READS_PICKLES.read_text()) if "read_checkpoint" in reason]


@pytest.mark.parametrize(
    "code",
    [
        *("eval('1')", "exec(code)", "compile('1', 'f', 'eval')", "__import__(name)", "os.system('ls')"),
        *("pickle.load(file)", "from pickle import loads\nloads(content)", "import pickle as p\np.loads(content)"),
        *("joblib.load(path)", "import pandas as pd\npd.read_pickle(path)", "torch.hub.load('a', 'b')"),
        *("torch.load(path)", "import torch as t\nt.load(path)", "torch.load(path, weights_only=False)"),
        *("yaml.load(text)", "yaml.load(text, Loader=yaml.Loader)", "yaml.load(text, yaml.FullLoader)"),
        *("class L(yaml.Loader): pass\nyaml.load(text, L)", "yaml.unsafe_load(text)"),
        *("subprocess.run('ls', shell=True)", "subprocess.Popen(['a'], shell=True)", "tempfile.mktemp()"),
        *("requests.get(url, verify=False)", "httpx.Client(verify=False)"),
        *("load(path, trust_remote_code=True)", "def f(a, trust_remote_code=True): pass"),
        *("def f(*, trust_remote_code: bool = True): pass", "np.load(path, allow_pickle=True)"),
        *("zipfile.ZipFile(path).extractall()", "archive.extractall(folder)", "shutil.unpack_archive(path)"),
    ],
)
def test_it_would_be_found(code: str) -> None:
    assert list(dangers(code))


@pytest.mark.parametrize(
    "code",
    [
        *("model.eval()", "re.compile('a')", "torch.compile(model)", "yaml.safe_load(text)"),
        *("yaml.load(text, Loader=yaml.SafeLoader)", "class L(yaml.SafeLoader): pass\nyaml.load(text, Loader=L)"),
        *("load(path, trust_remote_code=trust_remote_code)", "def f(trust_remote_code: bool = False): pass"),
        *("json.load(file)", "np.load(path, allow_pickle=False)", "subprocess.run(['ls'])", "archive.read(name)"),
    ],
)
def test_what_is_harmless_is_not(code: str) -> None:
    assert not list(dangers(code))


def test_the_table_of_files_names_tests_that_exist() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)`", page)
    assert len(named) > 8
    assert not [name for name in named if not (ROOT / name).is_file()]
