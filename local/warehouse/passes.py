"""fakesnow's passes over a statement, without those that cannot change it and without copies.

fakesnow 0.12.1 walks each statement about 80 times, once per transform. Most transforms start with a check of the node's
class, and most statements have no node of that class. Two transforms copy what they change, though nobody else has the tree.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import fakesnow.transforms
from fakesnow.cursor import FakeSnowflakeCursor
from sqlglot import exp

# The sources of these transforms have another form. The first one is that of local.warehouse.flatten, the next two are below.
BY_HAND: dict[str, tuple[type, ...]] = {
    "flatten": (exp.Lateral, exp.TableFromRows),
    "upper_case_unquoted_identifiers": (exp.Identifier,),
    "extract_comment_on_table": (exp.Create, exp.Comment, exp.Alter),
    "update_variables": (exp.Set, exp.Alias),
    "integer_precision": (exp.DataType,),
    "show_keys": (exp.Show,),
    "alter_table_strip_cluster_by": (exp.Alter, exp.Command),
}


def install() -> None:
    """Replace `FakeSnowflakeCursor._transform` by one that skips passes, and two transforms by some that do not copy."""
    fakesnow.transforms.upper_case_unquoted_identifiers = upper_case_unquoted_identifiers
    fakesnow.transforms.extract_comment_on_table = extract_comment_on_table
    original = FakeSnowflakeCursor._transform

    def _transform(self: FakeSnowflakeCursor, expression: exp.Expr, params: Any) -> exp.Expr:
        passes: Passes = original(self, Passes(expression), params)
        return passes.tree

    FakeSnowflakeCursor._transform = _transform


def upper_case_unquoted_identifiers(node: exp.Expr) -> exp.Expr:
    """Change a name in its place."""
    if isinstance(node, exp.Identifier) and not node.quoted and isinstance(node.this, str):
        node.set("this", node.this.upper())
    return node


_of_statements_without_properties = fakesnow.transforms.extract_comment_on_table


def extract_comment_on_table(node: exp.Expr) -> exp.Expr:
    """Move the comment of a new table or view from its properties to `table_comment`, where fakesnow looks for it."""
    table = node.find(exp.Table) if isinstance(node, exp.Create) else None
    properties = node.args.get("properties") if table and node.args.get("kind") in ("TABLE", "VIEW") else None
    if table is None or not properties:
        other: exp.Expr = _of_statements_without_properties(node)
        return other
    is_comment = [
        isinstance(one, exp.SchemaCommentProperty) and isinstance(one.this, exp.Literal | exp.Var)
        for one in properties.expressions
    ]
    comments = [one.this.this for one, found in zip(properties.expressions, is_comment, strict=True) if found]
    kept = [one for one, found in zip(properties.expressions, is_comment, strict=True) if not found]
    properties.set("expressions", kept)
    node.args["table_comment"] = (table.copy(), comments[-1] if comments else None)
    return node


class Passes:
    """A statement with the method `transform` of sqlglot, which fakesnow calls once per pass."""

    def __init__(self, tree: exp.Expr) -> None:
        self.tree = tree
        self._classes = classes(tree)

    def transform(self, function: Callable[..., exp.Expr], **options: Any) -> "Passes":
        """Apply one pass, unless the statement has no node that the pass changes."""
        changes = changed_classes(function.__code__)
        if changes is None or not changes.isdisjoint(self._classes):
            self.tree = self.tree.transform(function, **options)
            if function is not upper_case_unquoted_identifiers:
                self._classes = classes(self.tree)
        return self


def classes(tree: exp.Expr) -> set[type]:
    """Return the classes of all nodes."""
    return set(map(type, tree.walk()))


@functools.cache
def changed_classes(code: Any) -> frozenset[type] | None:
    """Return the classes of the nodes that a pass can change, subclasses too; None if its source does not show them.

    The pass is one of fakesnow's transforms, or a lambda that calls one.
    """
    names = code.co_names if code.co_name == "<lambda>" else [code.co_name]
    functions = [getattr(fakesnow.transforms, name, None) for name in names]
    found = [function for function in functions if inspect.isfunction(function)]
    if len(found) != 1:
        return None
    checked = BY_HAND.get(found[0].__name__) or checked_classes(found[0])
    return frozenset(_with_subclasses(checked)) if checked else None


def _with_subclasses(of: Iterable[type]) -> Iterator[type]:
    for one in of:
        yield one
        yield from _with_subclasses(one.__subclasses__())


def checked_classes(function: Any) -> tuple[type, ...]:
    """Return the classes that a transform checks its node for; empty if that is unclear."""
    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except OSError:
        return ()
    assert isinstance(definition, ast.FunctionDef)
    found: list[type] = []
    for guard in guards(definition):
        value = eval(compile(ast.Expression(guard), "guard", "eval"), function.__globals__)
        found += value if isinstance(value, tuple) else [value]
    return tuple(found)


def guards(definition: ast.FunctionDef) -> list[ast.expr]:
    """Return the classes, as expressions, that a transform checks its node for before it does anything; empty if unclear.

    A transform has one of two forms: `if not isinstance(node, X): return node` at its start, or only branches of
    `if isinstance(node, X) and ...` before `return node`.
    """
    node = definition.args.args[0].arg
    body = [one for one in definition.body if not _is_docstring(one) and not _sets_another_name(one, node)]
    first = body[0]
    if isinstance(first, ast.If) and not first.orelse and _returns(first.body, node):
        refused = _refused(first.test, node)
        if refused is not None:
            return [refused]
    found: list[ast.expr] = []
    for statement in body:
        if _returns([statement], node):
            return found
        branch: ast.stmt | None = statement
        while branch is not None:
            required = _required(branch.test, node) if isinstance(branch, ast.If) else None
            if required is None:
                return []
            assert isinstance(branch, ast.If)
            found.append(required)
            if _returns(branch.orelse, node):
                return found  # other nodes do not reach the rest of the body
            if len(branch.orelse) > 1:
                return []
            branch = branch.orelse[0] if branch.orelse else None
    return []


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _sets_another_name(statement: ast.stmt, node: str) -> bool:
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return all(isinstance(target, ast.Name) and target.id != node for target in targets)


def _returns(statements: list[ast.stmt], node: str) -> bool:
    match statements:
        case [ast.Return(value=ast.Name(id=name))]:
            return name == node
    return False


def _required(test: ast.expr, node: str) -> ast.expr | None:
    """Return X of `isinstance(node, X)`, or of a conjunction that starts with it."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return _required(test.values[0], node)
    match test:
        case ast.Call(func=ast.Name(id="isinstance"), args=[ast.Name(id=name), wanted]) if name == node:
            return wanted
    return None


def _refused(test: ast.expr, node: str) -> ast.expr | None:
    """Return X of `not isinstance(node, X)`, or of a disjunction that starts with it."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        return _refused(test.values[0], node)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _required(test.operand, node)
    return None
