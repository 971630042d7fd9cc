"""The page on the command line names every command and every option, with its default."""

from pathlib import Path

import typer.main

from jaxtwin.__main__ import app

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"


def test_every_command_and_option_is_on_the_page():
    sections = {
        part.split()[1].strip("`"): part for part in PAGE.read_text(encoding="utf-8").split("\n## `")[1:]
    }
    commands = typer.main.get_command(app).commands
    assert sections.keys() == commands.keys()
    for name, command in commands.items():
        options = {p.opts[0]: p.default for p in command.params if p.opts[0].startswith("--")}
        set_by_default = {k: v for k, v in options.items() if v not in (None, False)}
        lines = {line.split("`")[1]: line for line in sections[name].splitlines() if line.startswith("- `")}
        assert lines.keys() == options.keys()
        assert all(str(default) in lines[option] for option, default in set_by_default.items())
