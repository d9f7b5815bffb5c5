"""The rows of a CSV: one bad line costs one row, whatever it opens and does not close.

A line that is a whole row by itself is parsed by Arrow, all of a block at once. The others are examined one by one.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from imports.lines import Block

# A quoted field may contain line breaks. More lines than these are an unclosed quote.
FIELD_LINES_MAX = 100
MALFORMED = "a quote is not closed, or text follows a closing quote"


@dataclass
class Rows:
    """The rows of some lines: cells as text with their line numbers, and the lines that are no rows."""

    table: pa.Table
    rejected: list[tuple[int, str, str]] = field(default_factory=list)
    blank: int = 0
    # Lines within quoted fields, which belong to the row that starts before them.
    continued: int = 0


class CsvReader:
    """A reader of blocks in their order; `names` are the columns, in the order of the header."""

    def __init__(self, delimiter: str, names: Sequence[str], header_lines: int) -> None:
        self._delimiter, self._names, self._header_lines = delimiter, list(names), header_lines
        mark = re.escape(delimiter)
        cell = rf'(?:"(?:[^"\r\n]|"")*"|[^"{mark}\r\n][^{mark}\r\n]*|)'
        self._whole = rf"^{cell}(?:{mark}{cell}){{{len(names) - 1}}}\r?\n?$"
        self._whole_row = re.compile(self._whole)
        self._closed_cell = re.compile(cell + mark)
        self._opens = re.compile(rf'{mark}"\r?\n?$')
        self._carried: pa.Array | None = None
        self._carried_invalid: list[int] = []

    def rows(self, blocks: Iterator[Block]) -> Iterator[Rows]:
        """Yield the rows of each block. A row that continues in the next block comes with that one."""
        previous: Block | None = None
        for block in blocks:
            if previous:
                yield self._parse(previous, at_end=False)
            previous = block
        if previous:
            yield self._parse(previous, at_end=True)

    def _parse(self, block: Block, at_end: bool) -> Rows:
        lines, first, invalid = block.lines, block.first_line, set(block.invalid)
        if self._carried is not None:
            carried = len(self._carried)
            lines = pa.concat_arrays([self._carried, lines])
            first -= carried
            invalid = {*self._carried_invalid, *(index + carried for index in block.invalid)}
            self._carried = None
        whole = np.array(pc.match_substring_regex(lines, self._whole))
        for index in invalid:
            whole[index] = False
        if first == 1:
            whole[: self._header_lines] = False
        odd = np.flatnonzero(~whole)
        result = Rows(pa.table({}))
        extra: list[tuple[int, list[str]]] = []
        done = self._header_lines if first == 1 else 0
        end = len(lines)
        for index in odd.tolist():
            if index < done:
                continue
            text = lines[index].as_py().rstrip("\r\n")
            if index in invalid:
                result.rejected.append((first + index, "the line is not UTF-8", text))
            elif not text.strip():
                result.blank += 1
            else:
                cells, last = self._row_of(lines, index, at_end)
                if last < 0:
                    end = index
                    break
                if isinstance(cells, str):
                    result.rejected.append((first + index, cells, text))
                else:
                    extra.append((first + index, cells))
                    whole[index : last + 1] = False
                    result.continued += last - index
                    done = last + 1
        if end < len(lines):
            self._carried = lines[end:]
            self._carried_invalid = [index - end for index in invalid if index >= end]
            whole, lines = whole[:end], lines[:end]
        result.table = self._table(lines, whole, first, extra)
        return result

    def _table(self, lines: Any, whole: Any, first: int, extra: list[tuple[int, list[str]]]) -> pa.Table:
        numbers = np.flatnonzero(whole).astype(np.int64) + first
        chosen = lines if len(numbers) == len(lines) else pc.filter(lines, pa.array(whole))
        text = _bytes_of(chosen)
        positions = [str(number) for number in range(len(self._names))]
        if len(numbers):
            table = arrow_csv.read_csv(
                pa.py_buffer(text),
                read_options=arrow_csv.ReadOptions(
                    column_names=positions, block_size=len(text) + 1, use_threads=False
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=self._delimiter, ignore_empty_lines=False),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(positions, pa.string()), strings_can_be_null=False
                ),
            )
        else:
            table = pa.table({name: pa.array([], pa.string()) for name in positions})
        if table.num_rows != len(numbers):
            raise AssertionError(
                f"{len(numbers)} lines became {table.num_rows} rows: report this with the file's lines "
                f"{first} to {first + len(lines) - 1}"
            )
        columns = {"line": pa.array(numbers)}
        for position in range(len(self._names)):
            # The first of two columns with one name counts.
            columns.setdefault(self._names[position], table.column(position).combine_chunks())
        if extra:
            more = {"line": pa.array([line for line, _ in extra], pa.int64())}
            for position, name in enumerate(self._names):
                more.setdefault(name, pa.array([cells[position] for _, cells in extra], pa.string()))
            return pa.concat_tables([pa.table(columns), pa.table(more)])
        return pa.table(columns)

    def _row_of(self, lines: Any, index: int, at_end: bool) -> tuple[list[str] | str, int]:
        """Return the cells of the row that starts at a line, or the reason why there is none, and its last line.

        The last line is -1 if the row may continue in the next block.
        """
        text = lines[index].as_py()
        wanted = len(self._names)
        cells = self._strict(text)
        if cells is not None:
            if isinstance(cells, str):
                return cells, index
            if len(cells) == wanted:
                return cells, index
            return f"wrong number of columns: {len(cells)} instead of {wanted}", index
        # If this line has all columns, a later line that is a whole row is one of its own. So is a line at whose end a
        # quote opens a cell: within a cell, a quote after a delimiter would be doubled.
        complete = self._columns_with_open_quote(text) >= wanted
        for last in range(index + 1, index + FIELD_LINES_MAX):
            if last >= len(lines):
                return ("", -1) if not at_end else (MALFORMED, index)
            line = lines[last].as_py()
            if complete and (self._whole_row.match(line) or self._opens.search(line)):
                return MALFORMED, index
            text += line
            if '"' in line:
                cells = self._strict(text)
                if isinstance(cells, str):
                    return MALFORMED, index
                if cells is not None:
                    return (cells, last) if len(cells) == wanted else (MALFORMED, index)
        return MALFORMED, index

    def _columns_with_open_quote(self, line: str) -> int:
        """Count the cells of a line as if the quote that is not closed were a character."""
        count = position = 0
        while found := self._closed_cell.match(line, position):
            count, position = count + 1, found.end()
        return count + line.count(self._delimiter, position) + 1

    def _strict(self, text: str) -> list[str] | str | None:
        """Return the cells of a text, the reason why it is malformed, or None if a quote is still open."""
        try:
            parsed = list(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            return None if "unexpected end of data" in str(error) else MALFORMED
        return parsed[0] if len(parsed) == 1 else MALFORMED


def _bytes_of(lines: Any) -> Any:
    """Return the text of lines that lie one behind the other."""
    if not len(lines):
        return b""
    _, offsets, data = lines.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(lines) + 1, lines.offset * 4)
    return memoryview(data)[int(bounds[0]) : int(bounds[-1])]
