"""The prompt of ``gradsieve sql``: statements over several lines, completion, a history that is kept.

Every statement asks the catalogue anew, so that a run which ends meanwhile shows in the next answer.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import duckdb
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from flows.command_line.answers import print_answer
from tasks.catalogue.database import connect
from tasks.core.errors import BadConfig, GradsieveError

_HELP = """\
A statement ends with a semicolon and may take several lines. Tab completes, the arrows go through earlier ones.
\\d         all views          \\d NAME   the columns of one, and what they are
.help      this text          .quit      leave; so does Ctrl-D. Ctrl-C drops what has been typed."""
_VIEWS = """SELECT schema_name || '.' || view_name AS "view", column_count AS "columns", comment FROM duckdb_views()
            WHERE NOT internal AND database_name <> 'temp' ORDER BY schema_name <> 'main', schema_name, view_name"""
_COLUMNS = """SELECT column_name AS "column", data_type AS "type", comment FROM duckdb_columns()
              WHERE $1 IN (table_name, schema_name || '.' || table_name) AND schema_name IN ('main', 'latest', 'data')
              GROUP BY ALL ORDER BY min(column_index)"""
# What may stand after these is a table.
_TABLE_NEXT = re.compile(r"\b(from|join|describe|summarize)\s+[\w.\"@-]*$", re.IGNORECASE)
# A word that goes on with the clause is no alias: of FROM flags JOIN samples both are views.
_NO_ALIAS = (
    "join|inner|left|right|full|outer|cross|natural|semi|anti|asof|positional|using|on|where|group|having|order|limit|"
    "qualify|window|union|intersect|except|tablesample"
)
_FROM_CLAUSE = re.compile(
    r"\b(?:from|join)\s+([\w.]+|\"[^\"]+\"|data\.\"[^\"]+\")(?:\s+(?:as\s+)?(?!(?:" + _NO_ALIAS + r")\b)(\w+))?",
    re.IGNORECASE,
)


def prompt(lake: Path, run_id: str | None = None) -> None:
    """Answer one statement after the other, from the terminal, or from the standard input where that is none.

    Args:
        lake: whose catalogue.
        run_id: the run whose gradient shards are ``shards``.

    Raises:
        BadInput: the lake has nothing to ask about.
        BadConfig: a statement from the standard input cannot be answered; on a terminal it is said, and one goes on.
    """
    if not sys.stdin.isatty():
        for statement in _statements(sys.stdin.read()):
            print_answer(lake, statement, run_id=run_id, need_run=False)
        return
    names = Names.of(lake)
    print(f"gradsieve: {lake.expanduser().resolve()}. .help tells more, .quit leaves.")
    session = _session(names)
    while True:
        try:
            text = session.prompt("sql> ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text in (".quit", ".exit", "quit", "exit"):
            return
        _answer(lake, text, run_id)
        names.refresh(lake)


def _answer(lake: Path, text: str, run_id: str | None) -> None:
    """One command, or one or more statements; what is wrong with them is said."""
    command, _, rest = text.partition(" ")
    try:
        if command == ".help":
            print(_HELP)
        elif command == "\\d" and rest:
            print_answer(lake, _COLUMNS, bound=[rest.strip(' ;"')], need_run=False)
        elif command == "\\d":
            print_answer(lake, _VIEWS, need_run=False)
        else:
            for statement in _statements(text):
                print_answer(lake, statement, run_id=run_id, need_run=False)
    except GradsieveError as error:
        print(f"{error.got if isinstance(error, BadConfig) else error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)


def _statements(text: str) -> list[str]:
    """Statements one by one, by DuckDB's own parser: a semicolon in a string ends none.

    Raises:
        BadConfig: it is no SQL.
    """
    try:
        with duckdb.connect() as db:
            return [statement.query for statement in db.extract_statements(text)]
    except duckdb.Error as error:
        raise BadConfig(where="the query", expected="SQL", got=str(error), do="See gradsieve sql --help.") from error


class Names(Completer):
    """Views, their columns and SQL's keywords, each where it can stand."""

    def __init__(self, columns: dict[str, list[str]], keywords: list[str]) -> None:
        self.columns, self.keywords = columns, keywords

    @classmethod
    def of(cls, lake: Path) -> Names:
        """Those of a lake."""
        names = cls({}, [])
        names.refresh(lake)
        return names

    def refresh(self, lake: Path) -> None:
        """Look again at what there is."""
        with connect(lake, need_run=False) as db:
            rows = db.execute("""
                SELECT if(schema_name = 'main', '', schema_name || '.') || table_name, column_name FROM duckdb_columns()
                WHERE NOT internal AND (database_name <> 'temp' OR table_name = 'shards') ORDER BY ALL
            """).fetchall()
            self.keywords = [
                word.upper()
                for (word,) in db.execute("SELECT keyword_name FROM duckdb_keywords() ORDER BY 1").fetchall()
            ]
        self.columns = {}
        for view, column in rows:
            self.columns.setdefault(_quote_view(view), []).append(column)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Prompt-toolkit's question: what may the word before the cursor become?"""
        before = document.text_before_cursor
        word = re.search(r"[\w.\"@-]*$", before)
        prefix_text = word[0] if word else ""
        prefix, dot, rest = prefix_text.rpartition(".")
        if _TABLE_NEXT.search(before):
            yield from _completions(self.columns, prefix_text)
        elif dot and (view := self._view(document.text, prefix)):
            yield from _completions(self.columns[view], rest)
        elif prefix_text:
            views = [self._view(document.text, name) for name, _ in _FROM_CLAUSE.findall(document.text)]
            columns = dict.fromkeys(c for view in views if view for c in self.columns[view])
            # Before FROM is typed any view's columns; each likelier than a word of SQL that is written like it.
            others = [] if columns else (c for of_view in self.columns.values() for c in of_view)
            words: dict[str, str] = {}
            for one in (*columns, *self.columns, *others, *self.keywords):
                words.setdefault(one.lower(), one)
            yield from _completions(words.values(), prefix_text)

    def _view(self, text: str, name: str) -> str | None:
        """The view that a name or an alias stands for."""
        aliases = {alias.lower(): view for view, alias in _FROM_CLAUSE.findall(text) if alias}
        view = aliases.get(name.lower(), name)
        return view if view in self.columns else None


def _quote_view(view: str) -> str:
    """A view's name as SQL wants it."""
    schema, dot, name = view.partition(".")
    plain = re.compile(r"[A-Za-z_]\w*")
    if not dot:
        return view
    return view if plain.fullmatch(name) else f'{schema}."{name}"'


def _completions(words: Iterable[str], prefix: str) -> Iterable[Completion]:
    for word in words:
        if word.lower().startswith(prefix.lower()):
            yield Completion(word, start_position=-len(prefix))


def _session(names: Names) -> PromptSession[str]:
    """A prompt whose Enter ends a statement that is whole, and else begins a line."""
    bindings = KeyBindings()

    @Condition
    def whole() -> bool:
        text = session.default_buffer.document.text.strip()
        return not text or text.endswith(";") or text[0] in ".\\" or text in ("quit", "exit")

    @bindings.add("enter", filter=whole)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    session: PromptSession[str] = PromptSession(
        lexer=PygmentsLexer(SqlLexer),
        completer=names,
        complete_while_typing=False,
        history=_history(),
        key_bindings=bindings,
        multiline=True,
        prompt_continuation="...> ",
    )
    return session


def _history() -> History:
    """Where earlier statements are kept, as XDG has it; in memory where that cannot be written."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "gradsieve"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "sql_history").open("a", encoding="utf-8"):
            return FileHistory(str(home / "sql_history"))
    except OSError:
        return InMemoryHistory()
