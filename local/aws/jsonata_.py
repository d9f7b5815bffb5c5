"""JSONata for Step Functions: jsonata-python 0.7.1 replaces the Java library that moto 5.2.5 requires.

Other corrections of moto 5.2.5: it binds strings without escapes, refuses "$" inside a predicate, and has stubs for $hash
and $uuid.
"""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from typing import Any

import jsonata
from moto.stepfunctions.parser.asl.component.common.string import string_expression
from moto.stepfunctions.parser.asl.component.intrinsic import jsonata as intrinsic
from moto.stepfunctions.parser.asl.jsonata import jsonata as engine

from local.aws.patching import replace_everywhere

_HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


def install() -> None:
    """Patch moto's JSONata."""
    engine._eval_jsonata = evaluate
    # "$" is legal inside a predicate, where it is the context, and illegal at the top of an expression.
    engine._ILLEGAL_VARIABLE_REFERENCES = frozenset()
    references = engine.extract_jsonata_variable_references

    def without_context(jsonata_expression: str) -> set[str]:
        found: set[str] = references(jsonata_expression)
        return found - {"$", "$$"}

    replace_everywhere("extract_jsonata_variable_references", references, without_context)
    replace_everywhere(
        "encode_jsonata_variable_declarations", engine.encode_jsonata_variable_declarations, _declarations
    )
    # evaluate() binds these functions for every expression; declarations would shadow them.
    declared = intrinsic.get_intrinsic_functions_declarations

    def remaining(variable_references: set[str]) -> str:
        text: str = declared(variable_references - set(_FUNCTIONS))
        return text

    string_expression.get_intrinsic_functions_declarations = remaining


def evaluate(expression: str) -> Any:
    """Return the value of an expression as JSON types; None for null and for no value.

    Raises:
        JSONataException: the expression is invalid or failed.
    """
    try:
        program = jsonata.Jsonata(expression)
        for name, function in _FUNCTIONS.items():
            program.register_lambda(name.removeprefix("$"), function)
        return json.loads(json.dumps(program.evaluate(None), default=_refuse))
    except Exception as error:  # the library raises its own errors and those of Python
        raise engine.JSONataException("States.QueryEvaluationError", str(error)) from error


def _declarations(bindings: dict[str, Any]) -> str:
    return "".join(
        f"{name}:={json.dumps(value, ensure_ascii=False, separators=(',', ':'), default=str)};"
        for name, value in bindings.items()
    )


def _refuse(value: object) -> None:
    raise TypeError(f"the value of an expression must be JSON, not {type(value).__name__}")


def _hash(text: str, algorithm: str) -> str:
    return hashlib.new(_HASHES[algorithm], text.encode(), usedforsecurity=False).hexdigest()


def _random(*seed: float) -> float:
    return random.Random(*seed).random()


# Functions that Step Functions adds to JSONata. moto defines $partition and $range.
_FUNCTIONS = {
    "$hash": _hash,
    "$parse": json.loads,
    "$random": _random,
    "$uuid": lambda: str(uuid.uuid4()),
}
