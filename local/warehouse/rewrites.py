"""Rewrites of statements that fakesnow 0.12.1 does not support: text in, text out."""

import re

import sqlglot
from sqlglot import exp

# A name with a schema, after `create [or replace] temporary table|view`.
QUALIFIED_TEMPORARY = re.compile(
    r"\b(create\s+(?:or\s+replace\s+)?)(?:local\s+|global\s+)?temp(?:orary)?\s+(table|view)"
    r"(\s+(?:if\s+not\s+exists\s+)?\"?[\w$]+\"?\.)",
    re.IGNORECASE,
)
# to_number(text, 'XXXX') reads hexadecimal digits.
HEXADECIMAL = re.compile(r"\bto_number\s*\(.*'X+'", re.IGNORECASE | re.DOTALL)


def rewrite(command: str, keyword: str) -> str:
    """Return the statement in a form that fakesnow supports. `keyword` is its first word in lower case."""
    if keyword == "create":
        command = qualified_temporary_as_permanent(command)
    if HEXADECIMAL.search(command):
        command = hexadecimal_as_cast(command)
    return command


def hexadecimal_as_cast(command: str) -> str:
    """Replace `to_number(text, 'XXXX')` by a cast of `0x` and the digits, which DuckDB reads."""

    def cast(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.ToNumber) or not re.fullmatch("X+", node.text("format"), re.IGNORECASE):
            return node
        digits = exp.DPipe(this=exp.Literal.string("0x"), expression=node.this, safe=True)
        return exp.cast(digits, "int128")

    return sqlglot.parse_one(command, read="snowflake").transform(cast).sql("snowflake")


def qualified_temporary_as_permanent(command: str) -> str:
    """Replace `create temporary table db.schema.t` by a permanent table.

    DuckDB keeps temporary tables outside every schema and refuses the full name, which dbt uses.
    dbt drops the table itself.
    """
    return QUALIFIED_TEMPORARY.sub(
        lambda match: f"{match[1]}{'transient table' if match[2].lower() == 'table' else 'view'}{match[3]}",
        command,
    )
