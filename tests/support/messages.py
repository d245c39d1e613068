"""Every text that the command line can show, read off the source: what a catalog of another language must hold.

Mental model: a text is an expression. Its templates are what it can evaluate to, with "{}" for what is only known
when it runs: an f-string is one template, a choice is two, a name is whatever its function assigns or appends to it,
a call of a function of ours is whatever that returns, and a parameter is whatever the callers pass. A piece of an
f-string that is a message itself (a call, a name) is "{}" there and a text of its own.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

HOLES = re.compile(r"(?<!\{)\{\w*(?::\w+)?\}(?!\})")
PROSE = re.compile(r"[A-Za-z]{2}")
LISTS = ("append", "extend")
ERRORS = (
    "UserError",
    "UnwritableError",
    "NotFiniteError",
    "NoQuestionsError",
    "DocumentError",
    "Unreadable",
    "Problem",
    "ValueError",
    "URLError",
    "_Cut",
    "from_problems",
    "decode_text",
)
NOT_SAYING = ("str", "len", "join", "self", "settings", "repr", "type", "count", "share", "size", "visible", "Path")
TRIMMED = ("strip", "lstrip", "rstrip", "removeprefix", "removesuffix", "capitalize", "lower", "upper", "title")
LOGGED = ("info", "warning", "error")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Texts:
    """The texts of a package.

    Args:
        sources: its files, by name.
    """

    def __init__(self, sources: dict[str, str]) -> None:
        self.trees = {name: ast.parse(text) for name, text in sources.items()}
        self.found: dict[str, set[str]] = defaultdict(set)  # template -> where it is made
        self._functions: dict[str, list[tuple[str, Function]]] = defaultdict(list)
        self._parents: dict[ast.AST, ast.AST] = {}
        self._calls: dict[str, list[tuple[str, ast.Call]]] = defaultdict(list)
        self._constants: dict[str, list[tuple[str, ast.expr]]] = defaultdict(list)
        self._asked: set[tuple[int, str]] = set()
        for file, tree in self.trees.items():
            self._index(file, tree)

    def _index(self, file: str, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                self._parents[child] = node
            if isinstance(node, Function):
                self._functions[node.name].append((file, node))
            if isinstance(node, ast.Call):
                self._calls[called(node)].append((file, node))
        for node in tree.body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name) and isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value:
                self._constants[target.id].append((file, node.value))

    # ------------------------------------------------------------------------------------------ what is looked at
    def collect(self) -> dict[str, set[str]]:
        """All templates of errors, log lines, progress and prints, and where they are made."""
        for file, tree in self.trees.items():
            for node in ast.walk(tree):
                for expression in shown(node):
                    self._add(file, expression)
        return dict(self.found)

    def _add(self, file: str, expression: ast.expr) -> None:
        for template in self.templates(file, expression):
            if PROSE.search(erased(template).replace("{}", "")):
                self.found[template].add(f"{file}:{expression.lineno}")

    # ------------------------------------------------------------------------------------------ expressions
    def templates(self, file: str, node: ast.expr) -> list[str]:
        """What an expression can evaluate to."""
        if isinstance(node, ast.Constant):
            return [node.value.replace("{", "{{").replace("}", "}}")] if isinstance(node.value, str) else [hole(node)]
        if isinstance(node, ast.JoinedStr):
            return joined([self._piece(file, piece) for piece in node.values])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return joined([self.templates(file, node.left), self.templates(file, node.right)])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return self.templates(file, node.left)
        if isinstance(node, ast.IfExp):
            return [*self.templates(file, node.body), *self.templates(file, node.orelse)]
        if isinstance(node, ast.BoolOp):
            return [each for value in node.values for each in self.templates(file, value)]
        if isinstance(node, (ast.List, ast.Tuple)):
            for item in node.elts:
                self._add(file, item)
            return []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TRIMMED:
            return self.templates(file, node.func.value)
        if isinstance(node, ast.Starred):
            return self.templates(file, node.value)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            return self.templates(file, node.elt)
        if isinstance(node, ast.Dict):
            for value in node.values:
                self._add(file, value)
            return []
        return self._named(file, node)

    def _piece(self, file: str, piece: ast.expr) -> list[str]:
        """A part of an f-string; what it says in turn is a text of its own."""
        if not isinstance(piece, ast.FormattedValue):
            return self.templates(file, piece)
        if isinstance(piece.value, ast.IfExp):
            return [
                each if isinstance(side, (ast.Constant, ast.JoinedStr)) else hole(side)
                for side in (piece.value.body, piece.value.orelse)
                for each in self.templates(file, side)
            ]
        self._add(file, piece.value)
        return [hole(piece.value)]

    def _named(self, file: str, node: ast.expr) -> list[str]:
        """What a name or a call stands for."""
        if isinstance(node, ast.Name):
            for value_file, value in self._values(file, node):
                if (id(value), "value") not in self._asked:
                    self._asked.add((id(value), "value"))
                    self._add(value_file, value)
        elif isinstance(node, ast.Call):
            self._returned(file, node)
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            return self._named(file, node.value)
        return [hole(node)]

    def _returned(self, file: str, call: ast.Call) -> None:
        name = called(call)
        if name in ("join", "sorted", "list", "dict", "fromkeys", "words", "map", "str", "filter", "tuple"):
            for argument in call.args:
                if name != "str" or not isinstance(argument, ast.Name):  # else a path, as a rule
                    self._add(file, argument)
            return
        for other, function in self._functions.get(name, []):
            private = name.startswith("_") and other != file
            if private or (id(function), "returns") in self._asked or not says_text(function):
                continue
            self._asked.add((id(function), "returns"))
            for node in ast.walk(function):
                if isinstance(node, (ast.Return, ast.Yield)) and node.value is not None:
                    self._add(other, node.value)

    def _values(self, file: str, name: ast.Name) -> Iterator[tuple[str, ast.expr]]:
        """Every expression that may be behind a name."""
        function: ast.AST | None = name
        while function is not None and not isinstance(function, (*Function.__args__, ast.Lambda)):
            function = self._parents.get(function)
        local = False
        if isinstance(function, Function):
            for value in assigned(function, name.id):
                local = True
                yield file, value
            if name.id in parameters(function):
                yield from self._passed(file, function, name.id)
                return
        if not local:
            for other, value in self._constants.get(name.id, []):
                yield other, value

    def _passed(self, home: str, function: Function, name: str) -> Iterator[tuple[str, ast.expr]]:
        names = [each for each in parameters(function) if each not in ("self", "cls")]
        place = names.index(name) if name in names else len(names)
        owner = self._parents.get(function)
        known = owner.name if function.name == "__init__" and isinstance(owner, ast.ClassDef) else function.name
        if known in ERRORS:
            return
        for file, call in self._calls.get(known, []):
            if known.startswith("_") and file != home:
                continue
            for keyword in call.keywords:
                if keyword.arg == name:
                    yield file, keyword.value
            if len(call.args) > place:
                yield file, call.args[place]


def hole(node: ast.expr) -> str:
    """A placeholder with a name that tells what stands there."""
    names = [
        each.attr if isinstance(each, ast.Attribute) else each.id
        for each in ast.walk(node)
        if isinstance(each, (ast.Attribute, ast.Name))
    ]
    names = [name for name in names if name not in NOT_SAYING]
    return "{" + (names[0].strip("_").lower() if names else "value") + "}"


def names_in(node: ast.expr) -> list[str]:
    """All names and attributes of an expression, the outermost first."""
    found = [each for each in ast.walk(node) if isinstance(each, (ast.Attribute, ast.Name))]
    return [each.attr if isinstance(each, ast.Attribute) else each.id for each in found]


def erased(template: str) -> str:
    """A template with nameless placeholders."""
    return HOLES.sub("{}", template)


def shown(node: ast.AST) -> Iterable[ast.expr]:
    """What people read of a call, of an addition to a list of problems or of a record of one."""
    if isinstance(node, ast.AugAssign) and ast.unparse(node.target).endswith(("problems", "notes")):
        return [node.value]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return [value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "problem"]
    return arguments_shown(node) if isinstance(node, ast.Call) else []


def arguments_shown(call: ast.Call) -> Iterable[ast.expr]:
    """The arguments of a call that people read."""
    name = called(call)
    if name in ERRORS:
        return [*call.args, *(keyword.value for keyword in call.keywords)]
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if name in LOGGED and owner is not None and ("LOG" in ast.dump(owner)):
        return call.args[:1]
    if name in ("print", "say"):
        return call.args
    if name in ("append", "extend") and owner is not None and ast.unparse(owner).endswith(("problems", "notes")):
        return call.args
    if name in ("Document", "replace"):
        return [keyword.value for keyword in call.keywords if keyword.arg in ("note", "skipped")]
    if name in ("Progress", "track"):
        return [keyword.value for keyword in call.keywords if keyword.arg in ("what", "unit")]
    return []


def called(call: ast.Call) -> str:
    """The last part of the name of what is called."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def says_text(function: Function) -> bool:
    """Whether a function returns text, or several."""
    return function.returns is not None and "str" in ast.unparse(function.returns)


def parameters(function: Function) -> list[str]:
    """The names of all parameters, in order."""
    return [each.arg for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]


def assigned(function: Function, name: str) -> Iterator[ast.expr]:
    """Every expression that a function assigns, adds or appends to a name."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id == name:
                    yield node.value
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Call) and name in names_in(target):
                    yield node.value
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    for each, value in zip(target.elts, node.value.elts, strict=False):
                        if isinstance(each, ast.Name) and each.id == name:
                            yield value
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.NamedExpr)):
            if isinstance(node.target, ast.Name) and node.target.id == name and node.value is not None:
                yield node.value
        elif isinstance(node, (ast.For, ast.comprehension)):
            if isinstance(node.target, ast.Name) and node.target.id == name:
                yield node.iter
        elif isinstance(node, ast.Call) and called(node) in LISTS:
            owner = node.func.value if isinstance(node.func, ast.Attribute) else None
            if isinstance(owner, ast.Name) and owner.id == name:
                yield from node.args


def joined(parts: list[list[str]]) -> list[str]:
    """Every way to choose one text of each part and put them together."""
    return ["".join(choice) for choice in product(*parts)]


def package_texts(root: Path) -> dict[str, set[str]]:
    """All templates of the package under `root`."""
    files = sorted(root.rglob("*.py"))
    return Texts({str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in files}).collect()


def counted_words(root: Path) -> set[str]:
    """The words that progress says as they are: what is done, and what is counted."""
    calls = [
        node
        for path in sorted(root.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and called(node) in ("Progress", "track")
    ]
    texts = [keyword.value for call in calls for keyword in call.keywords if keyword.arg in ("what", "unit")]
    return {text.value for text in texts if isinstance(text, ast.Constant)}
