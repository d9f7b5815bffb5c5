"""FLATTEN: fakesnow 0.12.1 ignores the options `outer` and `path`, and numbers the elements of an array in any order.

It silently drops or multiplies rows then. Its INDEX and PATH count the rows as DuckDB's join happens to give them.
"""

from string import Template

import fakesnow.cursor
import fakesnow.macros
import fakesnow.transforms
from sqlglot import exp

# fakesnow's macro, but an element takes its place in the array with it before the array is unnested.
FLATTEN = Template(
    """
CREATE OR REPLACE MACRO ${catalog}._fs_flatten(input) AS TABLE
    SELECT
        hash(TO_JSON(input))::UBIGINT AS SEQ,
        e.k AS KEY,
        COALESCE(e.k, '[' || e.i || ']') AS PATH,
        CASE WHEN e.k IS NULL THEN e.i END AS INDEX,
        e.v AS VALUE,
        TO_JSON(input) AS THIS
    FROM (
        SELECT UNNEST(
            CASE WHEN json_type(TO_JSON(input)) = 'OBJECT'
                 THEN list_transform(
                    json_keys(TO_JSON(input)),
                    lambda x, i: struct_pack(k := x, v := CAST(TO_JSON(input) -> x AS JSON), i := (i - 1)::BIGINT)
                 )
                 ELSE list_transform(
                    CAST(TO_JSON(input) AS JSON[]),
                    lambda x, i: struct_pack(k := NULL::VARCHAR, v := x, i := (i - 1)::BIGINT)
                 )
            END, recursive := true
        )
    ) AS e(k, v, i)
    """
)


def install() -> None:
    """Replace fakesnow's macro, and its transform by one that supports these options and forwards all other calls."""
    fakesnow.macros.FS_FLATTEN = FLATTEN
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
