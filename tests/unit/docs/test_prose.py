"""The prose check finds each kind of breach, and leaves right sentences alone."""

import pytest

from docs.prose import counts, findings_of


def _rules(file: str, source: str) -> list[str]:
    return [finding.rule for finding in findings_of(file, source)]


LONG = "This sentence has one word more than " + "very " * 16 + "few others do."


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("A key is mended by people.\n", ["banned"]),
        ("The name `mended` is code.\n", []),
        ("Stop the server: it shuts down.\n", []),
        ("It writes a page a run.\n", ["per"]),
        ("It writes one page per run.\n", []),
        ("It takes one at a time.\n", []),
        ("First sentence. Second sentence.\n", ["line"]),
        ("First sentence. `code` starts the second.\n", ["line"]),
        ("First sentence.\nSecond sentence.\n", []),
        ("A sentence that goes\nover two lines.\n", ["line"]),
        ("Several marks, e.g. Of this kind.\n", []),
        ("| a cell. With two sentences. | another |\n", []),
        ("```\nIt is mended. A page a run.\n```\n", []),
        (LONG + "\n", ["long"]),
        (LONG.replace("very ", "", 1) + "\n", []),
    ],
)
def test_markdown_is_checked_by_each_rule(text: str, rules: list[str]) -> None:
    assert _rules("docs/page.md", text) == rules


@pytest.mark.parametrize(
    ("source", "rules"),
    [
        ('"""What a module does."""\n', ["clause"]),
        ('def f():\n    """Return True.\n\n    What follows is fine.\n    """\n', []),
        ("# The list is shut.\nx = 1\n", ["banned"]),
        ('x = "the list is shut"\n', []),
        ("# First. Second.\nx = 1\n", []),
        (f"# {'word ' * 15}\n# {'word ' * 15}\nx = 1\n", ["long"]),
        (f"x = 1  # {'word ' * 15}\ny = 2  # {'word ' * 15}\n", []),
    ],
)
def test_docstrings_and_comments_are_checked(source: str, rules: list[str]) -> None:
    assert _rules("functions/module.py", source) == rules


def test_a_finding_has_its_file_and_line() -> None:
    [finding] = findings_of("docs/page.md", "# Heading\n\nFine.\n\nIt is mended.\n")
    assert (finding.file, finding.line) == ("docs/page.md", 5)


def test_findings_are_counted_per_top_folder() -> None:
    found = findings_of("docs/a.md", "It is mended.\n") + findings_of("demo/b.md", "It is shut.\n")
    assert counts(found) == {"docs": {"banned": 1}, "demo": {"banned": 1}}
