"""The step as a whole: what is refused before a statement runs."""

from typing import Any

import pytest

from functions.validate.validate import validate


@pytest.mark.parametrize("shop_id", ["demo' or '1'='1", "demo\\", "{{ x }}", "d" * 65])
def test_a_shop_that_is_no_id_reaches_no_statement(shop_id: str) -> None:
    """The id becomes part of dbt's statements, where no parameter can be bound."""
    unused: Any = None
    with pytest.raises(ValueError, match="is no id of a shop"):
        validate({"run_id": "r", "shop_id": shop_id}, unused, unused, unused, unused)
