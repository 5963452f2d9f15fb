"""Mutants of a module: its source with one operator, constant, condition or statement changed."""

import ast
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
SILENT = ("reset_less", "strict")
"""Keywords without influence on results: resets of registers that are written before they are read,
and the check of ``zip`` that a caller is right."""
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
"""Functions and methods, and those that replace them."""


@dataclass(frozen=True)
class Mutant:
    """One change of a module: the bytes from ``start`` to ``stop`` of its source, ``old``, become
    ``new``. ``text`` is the whole line on which they begin."""

    module: str
    line: int
    start: int
    stop: int
    kind: str
    old: str
    new: str
    text: str

    @property
    def name(self) -> str:
        """Module, line and change, for people."""
        return f"{self.module}:{self.line} {self.kind}: {_short(self.old)} -> {_short(self.new)}"

    def applied(self, source: bytes) -> bytes:
        """The mutated source.

        Raises ``ValueError`` if ``source`` is not the one that the mutant was made from.
        """
        if source[self.start : self.stop].decode() != self.old:
            raise ValueError(f"{self.name}: the module has changed")
        return source[: self.start] + self.new.encode() + source[self.stop :]


def mutants(module: str, source: bytes) -> list[Mutant]:
    """All mutants of ``source``, in the order of their places."""
    found = _Finder(module, source).found
    unique = {(m.start, m.stop, m.new): m for m in found if m.old != m.new}
    return [unique[place] for place in sorted(unique)]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


class _Finder(ast.NodeVisitor):
    """Collects mutants of a syntax tree.

    Annotations, imports, decorators, text and what is raised are left alone: a change there is
    seen by type checkers, or by nobody. So are :data:`SILENT` arguments.
    """

    def __init__(self, module: str, source: bytes) -> None:
        self.found: list[Mutant] = []
        self._module, self._source = module, source
        self._lines = source.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))
        self.visit(ast.parse(source))

    def _add(self, node: ast.expr | ast.stmt, kind: str, new: str) -> None:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        stop = self._starts[node.end_lineno - 1] + node.end_col_offset
        old = self._source[start:stop].decode()
        text = self._lines[node.lineno - 1].decode().strip()
        self.found.append(Mutant(self._module, node.lineno, start, stop, kind, old, new, text))

    def _changed(self, node: ast.expr, kind: str, new: ast.expr) -> None:
        self._add(node, kind, f"({ast.unparse(new)})")

    def visit_Compare(self, node: ast.Compare) -> None:
        """Neighbouring comparisons."""
        for i, operator in enumerate(node.ops):
            if other := COMPARISONS.get(type(operator)):
                ops = [*node.ops[:i], other(), *node.ops[i + 1 :]]
                self._changed(node, "comparison", ast.Compare(node.left, ops, node.comparators))
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Another operator."""
        if other := OPERATORS.get(type(node.op)):
            self._changed(node, "operator", ast.BinOp(node.left, other(), node.right))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """``and`` for ``or``."""
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._changed(node, "and, or", ast.BoolOp(other, node.values))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """The operand alone."""
        self._changed(node, "operand alone", node.operand)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Neighbouring integers, the other truth value."""
        if isinstance(node.value, bool):
            self._add(node, "constant", str(not node.value))
        elif isinstance(node.value, int):
            self._add(node, "constant", f"({node.value + 1})")
            if node.value > 0:
                self._add(node, "constant", f"({node.value - 1})")

    def visit_IfExp(self, node: ast.IfExp) -> None:
        """The other branch."""
        self._changed(node, "branches", ast.IfExp(node.test, node.orelse, node.body))
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        """The opposite condition; what a command does is of the command's tests."""
        if ast.unparse(node.test) == "__name__ == '__main__'":
            return
        self._changed(node.test, "condition", ast.UnaryOp(ast.Not(), node.test))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Opposite functions, the operands of a multiplexer exchanged."""
        function = node.func
        if isinstance(function, ast.Name) and function.id in NAMES:
            self._changed(function, "function", ast.Name(NAMES[function.id]))
        if isinstance(function, ast.Attribute) and function.attr in NAMES:
            self._changed(function, "function", ast.Attribute(function.value, NAMES[function.attr]))
        if isinstance(function, ast.Name) and function.id == "Mux" and len(node.args) == 3:
            select, one, zero = node.args
            self._changed(node, "branches", ast.Call(function, [select, zero, one], node.keywords))
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        """The value, unless it is silent."""
        if node.arg not in SILENT:
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Nothing done: of gateware, a statement of a domain lost."""
        self._add(node, "statement", "pass")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        """A call lost; text between statements is left alone."""
        if isinstance(node.value, ast.Call):
            self._add(node, "statement", "pass")
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """The value only."""
        if node.value:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Defaults and body."""
        for default in (*node.args.defaults, *(d for d in node.args.kw_defaults if d)):
            self.visit(default)
        for statement in node.body:
            self.visit(statement)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """The body."""
        for statement in node.body:
            self.visit(statement)

    def _leave(self, node: ast.AST) -> None:
        """Nothing."""

    visit_Import = visit_ImportFrom = visit_Raise = visit_JoinedStr = _leave
