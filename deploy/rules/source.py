"""Read rules/<shop>.yaml: every problem is named with its line.

Values are read as texts and then converted to the type of their key. So the brand NO is no boolean, the item 0123 keeps
its zero, and 12:30 is no number of minutes.
"""

import difflib
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from msgspec import Struct, ValidationError, convert, json, structs

from deploy.command import DeployError
from functions.recommend.rules.model import RULES_MAX, Rule, RuleSet, problems_of

FOLDER = Path(__file__).resolve().parents[2] / "rules"
KEYS = ("time_zone", "rules")
# The file has times of a zone, the stored rules have milliseconds.
PERIOD = {"from": "from_ms", "until": "until_ms"}
WITH_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2})?\s*(Z|[+-]\d{2}:?\d{2})?")
UNKNOWN_FIELD = re.compile(r"unknown field `([^`]+)`")
PATH = re.compile(r" - at `\$?(?P<path>[^`]*)`")


class WrongRules(DeployError):
    """A file of rules cannot be used. The message contains each problem with its line."""


class Written(NamedTuple):
    """Rules as a file has them: the set for /recommend, and the line of each rule by its id."""

    rule_set: RuleSet
    lines: dict[str, int]


def read(path: Path) -> Written:
    """Return the rules of a file. The file's name is the shop's.

    Raises:
        WrongRules: the file is no YAML, or a rule is invalid.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise WrongRules(
            f"there is no {_name(path)}: write one (docs/rules.md has examples), or `rules: []` for no rule"
        ) from None
    except UnicodeDecodeError as error:
        raise WrongRules(f"{_name(path)} is not UTF-8: {error}") from None
    reader = _Reader(path)
    found = reader.read(text)
    if reader.problems:
        raise WrongRules("\n".join(f"{_name(path)}:{line}: {text}" for line, text in sorted(reader.problems)))
    return found


def revision_of(rules: tuple[Rule, ...]) -> str:
    """Return the name of the content of rules."""
    return hashlib.sha256(json.encode(rules)).hexdigest()[:12]


def _name(path: Path) -> str:
    return f"rules/{path.name}"


class _Reader:
    """Reads one file, and collects its problems."""

    def __init__(self, path: Path) -> None:
        self.shop = path.stem
        self.problems: list[tuple[int, str]] = []
        self._lines: dict[tuple[str | int, ...], int] = {}

    def read(self, text: str) -> Written:
        """Return the rules. Those with problems are left out."""
        document = self._document(text)
        zone = self._zone(document.get("time_zone"))
        rules: list[Rule] = []
        lines: dict[str, int] = {}
        for number, raw in enumerate(self._raw_rules(document)):
            rule = self._rule(number, raw, zone)
            line = self._line(("rules", number))
            if rule is None:
                continue
            if rule.id in lines:
                self.problems.append(
                    (
                        line,
                        f"the rule of line {lines[rule.id]} has the id {rule.id} too: give each rule its own",
                    )
                )
            lines.setdefault(rule.id, line)
            rules.append(rule)
        kept = tuple(rules)
        return Written(RuleSet(self.shop, revision_of(kept), kept), lines)

    def _document(self, text: str) -> dict[str, Any]:
        try:
            node = yaml.compose(text, Loader=yaml.BaseLoader)
            document = self._value(node, ()) if node else {}
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.problems.append((mark.line + 1 if mark else 1, f"no YAML: {error.problem}"))
            return {}
        except (yaml.YAMLError, RecursionError) as error:
            self.problems.append((1, f"no YAML: {error}"))
            return {}
        if not isinstance(document, dict):
            self.problems.append((1, "begin with `rules:` and a list of rules below it"))
            return {}
        for key in document.keys() - {*KEYS}:
            self.problems.append((self._line((key,)), f"the unknown key {key}: use {' and '.join(KEYS)}"))
        if "rules" not in document:
            self.problems.append((1, "has no key `rules`: write `rules: []` for no rule"))
        return document

    def _value(self, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
        """Return a node as dicts, lists and texts, and record its lines."""
        self._lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            return node.value
        if isinstance(node, yaml.SequenceNode):
            return [self._value(one, (*path, number)) for number, one in enumerate(node.value)]
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in found:
                self.problems.append((line, f"the key {key} is here twice"))
            found[key] = self._value(value_node, (*path, key))
            self._lines[(*path, key)] = line
        return found

    def _zone(self, name: Any) -> ZoneInfo | None:
        if name is None:
            return None
        try:
            return ZoneInfo(str(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            line = self._line(("time_zone",))
            self.problems.append((line, f"no time zone is {name}: use a name such as Europe/Berlin"))
            return None

    def _raw_rules(self, document: dict[str, Any]) -> list[Any]:
        raw = document.get("rules", [])
        if raw == "":
            return []
        if not isinstance(raw, list):
            self.problems.append(
                (self._line(("rules",)), "`rules` is no list: begin each rule with `- id: name`")
            )
            return []
        if len(raw) > RULES_MAX:
            self.problems.append((self._line(("rules",)), f"{len(raw)} rules, at most {RULES_MAX} are taken"))
        return raw

    def _rule(self, number: int, raw: Any, zone: ZoneInfo | None) -> Rule | None:
        path: tuple[str | int, ...] = ("rules", number)
        if not isinstance(raw, dict):
            self.problems.append((self._line(path), "a rule has keys such as `id:` and `remove:`"))
            return None
        name = f"rule {raw.get('id', number + 1)}"
        for key in PERIOD.values() & raw.keys():
            self.problems.append((self._line((*path, key)), f"{name}: the unknown key {key}"))
            return None
        fields = {key: value for key, value in raw.items() if key not in PERIOD}
        for key, field in PERIOD.items():
            if key in raw:
                try:
                    fields[field] = _milliseconds(raw[key], zone)
                except ValueError as error:
                    self.problems.append((self._line((*path, key)), f"{name}: `{key}` {error}"))
                    return None
        try:
            rule = convert(fields, Rule, strict=False)
        except ValidationError as error:
            self.problems.append(self._invalid(str(error), name, path))
            return None
        for problem in problems_of(rule):
            self.problems.append((self._line(path), f"{name}: {problem}"))
        return rule

    def _invalid(self, message: str, name: str, path: tuple[str | int, ...]) -> tuple[int, str]:
        """Return the line and the words of an error of msgspec, which ends with the path of the value."""
        found = PATH.search(message)
        inner = list(_steps(found["path"])) if found else []
        words = PATH.sub("", message)
        if unknown := UNKNOWN_FIELD.search(message):
            inner.append(unknown[1])
            near = difflib.get_close_matches(unknown[1], _known_fields())
            words = f"the unknown key {unknown[1]}{f', do you mean {near[0]}' if near else ''}: docs/rules.md has every key"
        elif inner:
            words = f"`{'.'.join(str(step) for step in inner)}`: {words}"
        return self._line((*path, *inner)), f"{name}: {words}"

    def _line(self, path: tuple[str | int, ...]) -> int:
        """Return the line of a value, or of what contains it."""
        while path not in self._lines and path:
            path = path[:-1]
        return self._lines.get(path, 1)


def _known_fields() -> set[str]:
    """Return the keys of rules and of everything inside them."""
    from functions.recommend.rules import model

    kinds = (kind for kind in vars(model).values() if isinstance(kind, type) and issubclass(kind, Struct))
    fields = {field.encode_name for kind in kinds if kind is not Struct for field in structs.fields(kind)}
    return (fields - {*PERIOD.values(), "shop", "revision", "rules"}) | PERIOD.keys()


def _steps(path: str) -> Iterator[str | int]:
    for name, number in re.findall(r"\.([^.\[]+)|\[(\d+)\]", path):
        yield int(number) if number else name


def _milliseconds(written: Any, zone: ZoneInfo | None) -> int:
    """Return a time as milliseconds since 1970.

    Raises:
        ValueError: it is no time, it has no zone, or a change of the clocks makes it ambiguous. The message is for the author.
    """
    text = str(written)
    if not WITH_TIME.fullmatch(text):
        raise ValueError(f"is {text}: write a day and a time, such as 2026-12-01 12:00")
    try:
        time = datetime.fromisoformat(text.replace(" Z", "Z"))
    except ValueError as error:
        raise ValueError(f"is {text}: {error}") from None
    if time.tzinfo is None:
        if zone is None:
            raise ValueError(
                "has no time zone: add `time_zone: Europe/Berlin` at the top of the file, or an offset"
            )
        offsets = {time.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)}
        local = time.replace(tzinfo=zone)
        if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != time:
            raise ValueError(f"is {text}, which the clocks of {zone.key} skip: write another time")
        if len(offsets) > 1:
            raise ValueError(
                f"is {text}, which the clocks of {zone.key} show twice: add an offset, such as +01:00"
            )
        time = local
    return round(time.timestamp() * 1000)
