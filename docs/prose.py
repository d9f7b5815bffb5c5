"""Check the prose of Markdown, docstrings and comments by the rules of docs/prose.toml.

Each folder has a count per rule in docs/prose_baseline.json. A count may fall and never rise.

    python -m docs.prose                # print the totals; exit 1 if a folder has more findings than its baseline
    python -m docs.prose functions      # list the findings below a path
    python -m docs.prose --update       # lower the baseline to today's counts
"""

import argparse
import ast
import io
import json
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
BASELINE = ROOT / "docs" / "prose_baseline.json"
RULES = tomllib.loads((ROOT / "docs" / "prose.toml").read_text())
# Vendored and generated files, pages that hold measured rows, and decisions older than the rules: they are not edited.
SKIPPED = re.compile(
    r"vendor/|functions/platform/events/validator\.py|benchmarks/results/|docs/decisions/00([01]\d|2[0-2])-"
)
BANNED = {re.compile(rf"\b{word}\b", re.IGNORECASE): hint for word, hint in RULES["banned"].items()}
ALLOWED = re.compile("|".join(map(re.escape, RULES["allowed"]["phrases"])), re.IGNORECASE)
CODE = re.compile(r"`[^`\n]+`|\]\([^)]*\)|<[^>\n]+>|https?://\S+")
SENTENCE = re.compile(r"(?<![ (]e\.g)(?<![ (]i\.e)(?<!\bvs)(?<!\bcf)[.!?][)\"'*]*\s+(?=[A-Z_`\"'(\[0-9])")
PER = re.compile(
    r"\b(an?|one) (?!(?:after|as|at|behind|for|from|in|is|like|of|on|out|over|than|that|to|with)\b)[a-z-]+ an? [a-z-]+\b"
)
CLAUSE = re.compile(r"(What|Whether|That)\b")
LIST_ITEM = re.compile(r"^\s*([*+-]|\d+\.) ")


class Finding(NamedTuple):
    """One breach of a rule."""

    file: str
    line: int
    rule: str
    text: str


class Text(NamedTuple):
    """A paragraph of prose and the line on which it starts."""

    line: int
    text: str


def _paragraphs(text: str, line: int) -> Iterator[Text]:
    """Yield the paragraphs and list items of a text; skip indented code, fences, headings and comments."""
    lines: list[str] = []
    fenced = False
    for number, row in enumerate([*text.split("\n"), ""]):
        fence = row.lstrip().startswith("```")
        code = fenced or fence or row.startswith("    ") or row.lstrip().startswith(("|", "#", "<!--", ">>>"))
        if lines and (code or not row.strip() or LIST_ITEM.match(row)):
            yield Text(line + number - len(lines), "\n".join(lines))
            lines = []
        fenced ^= fence
        if not code and row.strip():
            lines.append(LIST_ITEM.sub("", row))
        elif row.lstrip().startswith("|"):
            yield from (Text(line + number, cell.strip()) for cell in row.split("|"))


def _of_python(source: str) -> Iterator[tuple[Text, bool]]:
    """Yield the comments and docstrings of a module, and True for the first paragraph of a docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            for index, text in enumerate(
                _paragraphs(docstring or "", node.body[0].lineno if docstring else 0)
            ):
                yield text, index == 0
    comments: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or re.match(r"# (noqa|type:)", token.string):
            continue
        # A comment behind code stands for itself; one on a line of its own continues the line above.
        behind_code = bool(token.line[: token.start[1]].strip())
        if comments and (behind_code or token.start[0] != comments[-1][0] + 1):
            yield Text(comments[0][0], "\n".join(text for _, text in comments)), False
            comments = []
        comments.append((token.start[0], token.string.lstrip("#: ")))
    if comments:
        yield Text(comments[0][0], "\n".join(text for _, text in comments)), False


def findings_of(file: str, source: str) -> list[Finding]:
    """Return the breaches in the text of one Markdown or Python file."""
    markdown = file.endswith(".md")
    texts = [(text, False) for text in _paragraphs(source, 1)] if markdown else list(_of_python(source))
    source_lines = source.split("\n")
    found = []
    for (line, text), opening in texts:
        prose = ALLOWED.sub("_", CODE.sub("_", text))
        found += [
            Finding(file, line, "banned", f"{match[0]!r}: write {hint}")
            for word, hint in BANNED.items()
            for match in word.finditer(prose)
        ]
        found += [Finding(file, line, "per", f"{match[0]!r}: write 'per'") for match in PER.finditer(prose)]
        found += [
            Finding(file, line, "long", f"{len(sentence.split())} words: {sentence[:60]!r}")
            for sentence in SENTENCE.split(prose.replace("\n", " "))
            if len(sentence.split()) > RULES["limits"]["words_per_sentence"]
        ]
        if opening and CLAUSE.match(text):
            found.append(Finding(file, line, "clause", f"starts with a clause: {text[:60]!r}"))
        # A cell of a table has one line, whatever it holds.
        if not markdown or source_lines[line - 1].lstrip().startswith("|"):
            continue
        rows = prose.split("\n")
        if any(SENTENCE.search(row) for row in rows):
            found.append(Finding(file, line, "line", f"more than one sentence in a line: {text[:60]!r}"))
        elif any(not re.search(r"[.!?:·][)\"'*_]*$", row.strip()) for row in rows[:-1]):
            found.append(Finding(file, line, "line", f"a sentence over several lines: {text[:60]!r}"))
    return found


def _folder(file: str) -> str:
    """Return the key of a file's count: its top folder, or the file itself at the top level."""
    return file.split("/")[0]


def all_findings() -> list[Finding]:
    """Return the findings of every Markdown and Python file that git lists."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md", "*.py"]
    files = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return [
        finding
        for file in sorted(set(files))
        if not SKIPPED.match(file) and (ROOT / file).exists()
        for finding in findings_of(file, (ROOT / file).read_text())
    ]


def counts(findings: list[Finding]) -> dict[str, Counter[str]]:
    """Return the number of findings per folder and rule."""
    by_folder: dict[str, Counter[str]] = defaultdict(Counter)
    for finding in findings:
        by_folder[_folder(finding.file)][finding.rule] += 1
    return by_folder


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m docs.prose functions",
    )
    parser.add_argument("path", nargs="?", help="list the findings of this file or folder")
    parser.add_argument("--update", action="store_true", help="lower the baseline to today's counts")
    arguments = parser.parse_args()
    findings = all_findings()
    if arguments.path is not None:
        for finding in findings:
            if finding.file.startswith(arguments.path):
                print(f"{finding.file}:{finding.line}: {finding.rule}: {finding.text}")
        return 0
    found = counts(findings)
    baseline: dict[str, dict[str, int]] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    risen = [
        f"{folder}: {rule}: {count} findings, {baseline.get(folder, {}).get(rule, 0)} allowed"
        for folder, rules in sorted(found.items())
        for rule, count in sorted(rules.items())
        if count > baseline.get(folder, {}).get(rule, 0) and BASELINE.exists()
    ]
    if risen:
        print(*risen, "List them with: python -m docs.prose FOLDER", sep="\n", file=sys.stderr)
        return 1
    if arguments.update:
        kept = {folder: dict(sorted(rules.items())) for folder, rules in sorted(found.items())}
        BASELINE.write_text(json.dumps(kept, indent=2) + "\n")
    print(
        f"prose: {dict(sorted(Counter(finding.rule for finding in findings).items()))}, none above the baseline"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
