"""Tables that something has spoilt: what is whole is read, what is odd is named with its line."""

import pytest

from hetrl.errors import RunError
from hetrl.report.curve import draw_runs
from hetrl.runs.csv_table import CsvTable, read

ODD = {
    "a cut number in the middle": (b"frames,return\n40,1e-\n80,2\n", r"line 2: return is '1e-', no number; mend or"),
    "not UTF-8": (b"frames,return\n40,\xff\n", r"is no table: it is no text \(invalid start byte at byte 17\)"),
    "no frames": (b"step,return\n40,1\n", "is no table of metrics: its first column is not 'frames'"),
    "empty frames": (b"frames,return\n,1\n", "line 2 does not say its frames"),
    "frames nan": (b"frames,return\nnan,1\n", "line 2 does not say its frames"),
    "frames text": (b"frames,return\nx,1\n", "line 2: frames is 'x', no number"),
    "too few cells": (b"frames,return\n40\n80,2\n", "line 2 has 1 cells for 2 columns; mend or drop that line"),
    "too many cells": (b"frames,return\n40,1,2\n80,2\n", "line 2 has 3 cells for 2 columns; mend or drop that line"),
    "a quote": (b'frames,return\n40,"1\n80,2\n', "line 3: unexpected end of data; mend or drop that line"),
    "a NUL": (b"frames,return\n40,\0\n", "line 2: .*mend or drop that line"),
}


@pytest.mark.parametrize(("content", "message"), ODD.values(), ids=ODD)
def test_what_is_odd_is_named(content, message, tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    for use in (read, lambda path: CsvTable(path, 40)):
        with pytest.raises(RunError, match=message) as error:
            use(path)
        assert "\n" not in str(error.value)
    (tmp_path / "recipe.yaml").write_text("task: {use: env/x}\nrun: {frames: 80}\n")
    with pytest.raises(RunError, match=message):
        draw_runs([tmp_path], None, tmp_path / "curve.png")
    assert path.read_bytes() == content


@pytest.mark.parametrize("rest", ["1", "120,3.", "120,3", "12"])
def test_a_last_line_that_was_cut_off_is_left_out(rest, tmp_path):
    """Also where it looks whole: 3.5 cut to 3 is another number."""
    path = tmp_path / "metrics.csv"
    path.write_text(f"frames,return\n40,1\n80,2\n{rest}")
    assert [row["frames"] for row in read(path)] == [40, 80]


@pytest.mark.parametrize("content", ["", "frames", "frames,return\n"])
def test_no_rows_are_no_rows(content, tmp_path):
    (tmp_path / "metrics.csv").write_text(content)
    assert read(tmp_path / "metrics.csv") == []
    assert CsvTable(tmp_path / "metrics.csv", 40) is not None


def test_rows_after_the_checkpoint_stay_until_the_first_comes_again(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("frames,return\n40,1\n80,2\n120,3")
    table = CsvTable(path, 40)
    assert path.read_text().endswith("80,2\n120,3")
    table.log_metrics({"return": 5.0, "more": 1.0}, 80)
    assert read(path) == [{"frames": 40, "return": 1}, {"frames": 80, "return": 5, "more": 1}]
    table.log_metrics({"return": 6.0}, 120)
    assert len(read(path)) == 3
