import csv
import io
from dataclasses import dataclass

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from imports.csv_rows import CsvReader
from imports.lines import Block

NAMES = ["a", "b", "c", "d"]


@dataclass
class Parsed:
    """The cells of every row with its line, the lines that were rejected, and the lines that are neither."""

    rows: dict[int, list[str]]
    rejected: list[int]
    blank: int
    continued: int


def parse(text: str, lines_per_block: int = 1000, delimiter: str = ",") -> Parsed:
    lines = text.splitlines(keepends=True)
    blocks = [
        Block(start + 1, pa.array(lines[start : start + lines_per_block], pa.string()), [])
        for start in range(0, len(lines), lines_per_block)
    ]
    parsed = Parsed({}, [], 0, 0)
    for part in CsvReader(delimiter, NAMES, 1).rows(iter(blocks)):
        for row in part.table.to_pylist():
            parsed.rows[row["line"]] = [row[name] for name in NAMES]
        parsed.rejected += [line for line, _, _ in part.rejected]
        parsed.blank += part.blank
        parsed.continued += part.continued
    return parsed


# Whole rows as tools write them: some quote what needs it, some quote all.
# A cell that begins with its line break could as well be an unclosed quote, so these begin with a letter.
CELL = st.one_of(
    st.text(st.sampled_from('ab "'), max_size=5),
    st.text(st.sampled_from('ab "\n'), max_size=5).map("a{}".format),
    st.sampled_from(["12 inch", "Pan, big", "Big, red,\nand round", ", ,x"]),
)


def written(cells: list[str], quoting: int) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n", quoting=quoting).writerow(cells)  # type: ignore[arg-type]
    return out.getvalue()


CLEAN = st.tuples(
    st.lists(CELL, min_size=3, max_size=3).map(lambda cells: ["k", *cells]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
DIRTY = st.sampled_from(
    [
        'k,x,y,"12 inch pan\n',
        'k,"12 inch pan,y,z\n',
        "k,x,y\n",
        "k,x,y,z,more\n",
        'k,"x"y,z,q\n',
        'k,x,y,"\n',
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.just("clean"), CLEAN) | st.tuples(st.just("dirty"), DIRTY), max_size=12), st.data()
)
def test_a_dirty_line_costs_one_row_and_every_line_is_accounted_for(lines: list, data: st.DataObject) -> None:  # type: ignore[type-arg]
    text, wanted, dirty = "a,b,c,d\n", {}, []
    for kind, content in lines:
        line = text.count("\n") + 1
        if kind == "clean":
            cells, quoting = content
            text += written(cells, quoting)
            wanted[line] = cells
        else:
            text += content
            dirty.append(line)
    parsed = parse(text, data.draw(st.integers(1, 6)))
    assert text.count("\n") == 1 + len(parsed.rows) + len(parsed.rejected) + parsed.blank + parsed.continued
    assert not dirty or set(dirty) <= set(parsed.rejected)
    clean = {line: cells for line, cells in wanted.items() if "\n" not in "".join(cells)}
    assert clean.items() <= parsed.rows.items()
    if not dirty:
        assert parsed.rows == wanted
        assert parsed.rejected == []


def test_an_unclosed_quote_costs_one_row_even_if_a_later_row_has_a_quote_too() -> None:
    text = 'a,b,c,d\n1,x,y,"12 inch pan\n' + "2,x,y,z\n" * 50 + '3,x,y,"Pan, big"\n4,x,y,Pan 12"\n'
    parsed = parse(text)
    assert parsed.rejected == [2]
    assert len(parsed.rows) == 52
    assert parsed.rows[53] == ["3", "x", "y", "Pan, big"]
    assert parsed.rows[54] == ["4", "x", "y", 'Pan 12"']


def test_a_quoted_cell_with_line_breaks_is_one_row_in_any_column() -> None:
    text = 'a,b,c,d\n1,"two\r\nlines, and a ""quote""",y,z\n2,x,y,"last\n\ncolumn"\n'
    parsed = parse(text, lines_per_block=2)
    assert parsed.rows == {
        2: ["1", 'two\r\nlines, and a "quote"', "y", "z"],
        4: ["2", "x", "y", "last\n\ncolumn"],
    }
    assert parsed.continued == 3


def test_a_comma_in_an_earlier_quoted_cell_does_not_make_a_row_with_line_breaks_two() -> None:
    parsed = parse('a,b,c,d\n"1","Pan, big","\n","x"\n')
    assert parsed.rows == {2: ["1", "Pan, big", "\n", "x"]}


def test_every_separator_and_windows_line_breaks() -> None:
    for delimiter in ";\t|":
        text = delimiter.join(NAMES) + "\r\n" + delimiter.join(["1", '"x"', "", "a,b"]) + "\r\n\r\n"
        parsed = parse(text, delimiter=delimiter)
        assert parsed.rows == {2: ["1", "x", "", "a,b"]}
        assert parsed.blank == 1
