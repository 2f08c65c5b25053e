"""What the documentation tells people to type exists, and what it links to is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from canonical.saga import WorkItemKind
from canonical.worklist import StuckCause
from starter import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
RUNBOOK = ROOT / "docs/runbook"
CODE = re.compile(r"```[^\n]*\n(.*?)```|(?<!`)`([^`]+)`(?!`)", re.DOTALL)
COMMAND = re.compile(r"(?:^|\s)(?:\.venv/bin/)?(?:python )?starter\.py ([^\n]*)")
SHELL = set("();<>|&")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CLI = typer.main.get_command(app)


def commands(text: str) -> Iterator[list[str]]:
    """Return the words of each `starter.py …` of the code in a page, up to what the shell does."""
    for block, word in CODE.findall(text):
        for line in (block or word.replace("\n", " ")).replace("\\\n", " ").splitlines():
            if "-->" in line:
                continue  # a drawing
            for told in COMMAND.findall(line.replace("   starter.py ", "\nstarter.py ")):
                if words := list(split(told)):
                    yield words


def split(line: str) -> Iterator[str]:
    lexer = shlex.shlex(
        line.replace("[", " ").replace("]", " "), posix=True, punctuation_chars=True
    )
    lexer.wordchars += ":,"
    for word in lexer:
        if SHELL.issuperset(word):
            return
        if word != "…":
            yield word.rstrip(".,:")


def problem(words: list[str]) -> str:
    """Return what is wrong with a command line, empty where it would be understood."""
    command, rest = CLI, list(words)
    while rest and isinstance(command, TyperGroup):
        name = rest.pop(0)
        if name not in command.commands:
            return f"there is no command {name!r}"
        command = command.commands[name]
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    unknown = [word for word in rest if word.startswith("--") and word not in {*options, "--help"}]
    return f"there is no option {unknown[0]}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_commands_that_it_tells_exist(page: Path) -> None:
    told = commands(page.read_text(encoding="utf-8"))
    assert [(" ".join(said), wrong) for said in told if (wrong := problem(said))] == []


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("status 006DT0000000001YAA", ""),
        ("work retry --reason R --dry-run --as olivia", ""),
        ("stuk", "there is no command 'stuk'"),
        ("work lst", "there is no command 'lst'"),
        ("resolve WI-1 retry --becaus x", "there is no option --becaus"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(said: str, wrong: str) -> None:
    assert problem(said.split()) == wrong


def test_commands_are_found_where_people_look() -> None:
    page = "Run `starter.py stuck --json`.\n```\n$ starter.py work \\\n  list  # all\n```\n"
    assert list(commands(page)) == [["stuck", "--json"], ["work", "list"]]
    assert sum(len(list(commands(page.read_text(encoding="utf-8")))) for page in PAGES) > 100


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_its_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        if "://" in target:
            continue
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if heading and found.suffix == ".md":
            assert heading in headings(found), target


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made of their words."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", line.lower()) for line in lines)
    return {line.replace(" ", "-") for line in plain}


class TestRunbook:
    @pytest.mark.parametrize("page", sorted(RUNBOOK.glob("*.md")), ids=lambda page: page.stem)
    def test_each_page_says_the_same_five_things(self, page: Path) -> None:
        found = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert found == ["You see", "Why", "Check", "Do", "Call"]

    def test_the_index_has_every_page(self) -> None:
        index = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
        told = {
            Path(target).name for target in LINK.findall(index) if target.startswith("runbook/")
        }
        assert told == {page.name for page in RUNBOOK.glob("*.md")}

    def test_every_cause_that_the_watch_finds_is_in_the_index(self) -> None:
        index = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
        assert [cause for cause in [*StuckCause, *WorkItemKind] if f"`{cause}`" not in index] == []
