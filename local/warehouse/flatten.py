"""The options `outer` and `path` of FLATTEN: fakesnow 0.12.1 ignores both and silently drops or multiplies rows."""

import fakesnow.cursor
import fakesnow.transforms
from sqlglot import exp


def install() -> None:
    """Replace fakesnow's transform by one that supports these options and forwards all other calls."""
    original = fakesnow.transforms.flatten

    def flatten(node: exp.Expr) -> exp.Expr:
        options = _options(node)
        if not options.keys() & {"outer", "path"}:
            original_result: exp.Expr = original(node)
            return original_result
        value = options.get("input") or node.this.this
        if "path" in options:
            steps = [exp.JSONPathKey(this=step) for step in options["path"].name.split(".")]
            value = exp.JSONExtract(
                this=value, expression=exp.JSONPath(expressions=[exp.JSONPathRoot(), *steps])
            )
        if "outer" in options and options["outer"].sql().upper() == "TRUE":
            value = _one_null_when_empty(value)
        return exp.Table(
            this=exp.Anonymous(this="_fs_flatten", expressions=[value]), alias=node.args.get("alias")
        )

    fakesnow.transforms.flatten = flatten
    fakesnow.cursor.transforms.flatten = flatten


def _options(node: exp.Expr) -> dict[str, exp.Expr]:
    if not (isinstance(node, (exp.Lateral, exp.TableFromRows)) and isinstance(node.this, exp.Explode)):
        return {}
    arguments = [node.this.this, *(node.this.args.get("expressions") or [])]
    return {each.this.name.lower(): each.expression for each in arguments if isinstance(each, exp.Kwarg)}


def _one_null_when_empty(value: exp.Expr) -> exp.Expr:
    nothing = exp.or_(
        exp.Is(this=value.copy(), expression=exp.null()),
        exp.EQ(this=exp.cast(value.copy(), "text"), expression=exp.Literal.string("[]")),
    )
    one_null = exp.cast(exp.Literal.string("[null]"), "json")
    return exp.Case(ifs=[exp.If(this=nothing, true=one_null)], default=exp.cast(value.copy(), "json"))
