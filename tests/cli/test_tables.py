"""Tables on stdout: names as they are, lines as long as they need on a pipe, rich only when a table is printed."""

import subprocess
import sys

from modeling_fbclip.cli.tables import print_table


def test_names_are_printed_as_they_are_and_the_total_comes_last(capsys):
    print_table(("name", "size"), [("[red]part :smile:", 5), ("line\nbreak", 10)], numeric=("size",), total=("", 15))
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip(" \u2500")]
    assert lines == [["name", "size"], ["[red]part", ":smile:", "5"], ["line\\nbreak", "10"], ["15"]]


def test_a_long_row_on_a_pipe_stays_on_one_line(capsys):
    print_table(("path",), [["a" * 500]])
    assert "a" * 500 in capsys.readouterr().out


def test_commands_import_rich_only_to_print_a_table():
    code = "import sys; from modeling_fbclip.cli import datasets, push; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
