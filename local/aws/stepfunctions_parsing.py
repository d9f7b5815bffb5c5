"""Parses each definition of a state machine once.

moto 5.2.5 parses the definition for every check and every execution. ANTLR needs 0.3 s for the pipeline's.
"""

from __future__ import annotations

import functools
from typing import Any

from moto.stepfunctions.parser.asl.parse import asl_parser

DEFINITIONS = 16


def install() -> None:
    """Replace moto's parser. Executions share the syntax tree of a definition, and each has its own program."""

    def parse(definition: str) -> tuple[Any, Any]:
        tree = _tree(definition)
        return asl_parser.Preprocessor().visit(tree), tree

    asl_parser.AmazonStateLanguageParser.parse = staticmethod(parse)


@functools.lru_cache(DEFINITIONS)
def _tree(definition: str) -> Any:
    """Return the syntax tree of a definition.

    Raises:
        ASLParserException: the definition has errors of syntax.
    """
    listener = asl_parser.SyntaxErrorListener()
    tokens = asl_parser.CommonTokenStream(asl_parser.ASLLexer(asl_parser.InputStream(definition)))
    parser = asl_parser.ASLParser(tokens)
    parser.removeErrorListeners()
    parser.addErrorListener(listener)
    tree = parser.state_machine()
    if listener.errors:
        raise asl_parser.ASLParserException(errors=listener.errors)
    return tree
