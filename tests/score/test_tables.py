"""Tables fit into a terminal, whatever its width."""

import pytest

from scrubbing.score.tables import rendered, titled


@pytest.mark.parametrize("width", [34, 44, 60, 80, 120, 200])
def test_no_number_is_broken_and_nothing_is_lost(width):
    columns = ["layer", "head", "ablation", "direct effect", "change in the logit", "self repair", "norm"]
    rows = [[str(i), str(i + 7), "resample", f"{-i}.25", f"{i}.125 to {i}.5", f"{i}.0625", "0.03125"] for i in range(4)]
    lines = rendered(titled("heads", columns, rows, left=["ablation"], keys=3), width=width).splitlines()
    assert max(map(len, lines)) <= width
    for row in rows:
        assert [cell for cell in row if not any(f" {cell} " in f" {line} " for line in lines)] == []
    said = " ".join(lines).replace("┃", " ").split()
    assert [word for column in columns for word in column.split() if word not in said] == []


def test_a_narrow_table_is_cut_by_columns_and_each_part_says_what_its_rows_are():
    columns = ["head", *(f"column{i}" for i in range(6))]
    rows = [["0.1", *(f"{i}.12345" for i in range(6))], ["0.2", *(f"{i}.54321" for i in range(6))]]
    lines = rendered(titled("", columns, rows), width=30).splitlines()
    assert sum(line.startswith("head") for line in lines) == 2
    assert sum(line.startswith("0.1") for line in lines) == 2


def test_a_long_name_is_folded_where_numbers_need_the_room():
    lines = rendered(titled("", ["name", "loss"], [["x" * 100, "1.25"]]), width=60).splitlines()
    assert max(map(len, lines)) <= 60
    assert sum(line.count("x") for line in lines) == 100
    assert sum("1.25" in line for line in lines) == 1


def test_a_row_may_be_short():
    lines = rendered(titled("", ["name", "alone", "last"], [["a", "1.5", "2.5"], None, ["all", "3.5"]])).splitlines()
    assert [cell.strip() for cell in lines[-2].strip("│").split("│")] == ["all", "3.5", ""]
