"""Runs SuiteQL statements over the tables: joins, three-valued conditions, sorting.

Texts are compared with regard to case, as in Oracle's database (unverified for REST).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from simulators.kit import Account
from simulators.netsuite import errors
from simulators.netsuite.cells import (
    Env,
    Eval,
    Test,
    any_of,
    comparison,
    iso_date,
    likeness,
    lower,
    membership,
    moment,
    moment_text,
    opposite,
    sortable,
    upper,
)
from simulators.netsuite.keysets import keyset_of, listing_of
from simulators.netsuite.lookups import as_values, conjuncts, find_lookup, joined_columns
from simulators.netsuite.results import Found, Made, distinct
from simulators.netsuite.statement import (
    UNSUPPORTED,
    AllOf,
    AnyOf,
    Call,
    Column,
    Compare,
    Condition,
    IsNull,
    Join,
    Like,
    Literal,
    Member,
    Not,
    Operand,
    Output,
    Source,
    Statement,
)
from simulators.netsuite.tables import Cell, Lookup, Row, Table, TableColumn
from simulators.netsuite.transaction_tables import TABLES


def run_statement(account: Account, statement: Statement) -> Found:
    """Return the result of a statement.

    Raises:
        ReplyError: an unknown table or column, or values that cannot be compared.
    """
    return _Run(account, statement).found()


class _Run:
    def __init__(self, account: Account, statement: Statement) -> None:
        self._account = account
        self._statement = statement
        self._tables: dict[str, Table] = {}
        for source in (statement.source, *(join.source for join in statement.joins)):
            self._tables[source.alias] = _find_table(source)

    def found(self) -> Found:
        statement = self._statement
        outputs = statement.columns or self._all_columns()
        if any(isinstance(out.operand, Call) and out.operand.name == "count" for out in outputs):
            count = str(len(self._sorted(outputs)))
            return Made([{"links": [], **{out.name: count for out in outputs}}])
        columns = [(out.name, self._operand(out.operand)) for out in outputs]
        keyset = keyset_of(statement, self._resolve_name)
        if statement.distinct:
            return Made(distinct(Found(self._sorted(outputs), columns).rows()))
        if keyset is None:
            return Found(self._sorted(outputs), columns)
        if not self._is_decorated():
            whole = listing_of(self._account, keyset.whole, self._whole)
            return Found(whole.after(keyset.after), columns)
        own_id = (Output(keyset.own_id, "id"),)
        bare = replace(keyset.whole, columns=own_id, joins=())
        listing = listing_of(self._account, bare, self._whole)
        return Found(listing.after(keyset.after), columns, self._decorator())

    def _is_decorated(self) -> bool:
        """Whether joins neither add rows nor take some away: they can wait for the page's own."""
        first = {self._statement.source.alias}
        parts = conjuncts(self._statement.where)
        return all(map(self._decorates, self._statement.joins)) and all(
            self._aliases(part) <= first for part in parts
        )

    def _decorates(self, join: Join) -> bool:
        alias, parts = join.source.alias, conjuncts(join.on)
        table = self._tables[alias]
        pair = joined_columns(parts[0], alias, self._alias_of) if len(parts) == 1 else None
        by_id = pair is not None and table.finds.get(pair[0].name) == "id"
        return join.left and by_id and table.lines is None

    def _decorator(self) -> Callable[[Env], Env]:
        joins = [self._join(join) for join in self._statement.joins]

        def joined(env: Env) -> Env:
            for join in joins:
                (env,) = join(env)
            return env

        return joined

    def _whole(self, statement: Statement) -> list[tuple[int, Env]]:
        """Return a listing from its first page on, each row with the id it is in order of."""
        alias = statement.source.alias
        run = _Run(self._account, statement)
        envs = run._sorted(statement.columns or run._all_columns())
        return [(_order_of_first(env, alias), env) for env in envs]

    def _resolve_name(self, column: Column) -> tuple[str, str]:
        return self._resolve(column)[0], column.name

    def _sorted(self, outputs: Sequence[Output]) -> list[Env]:
        statement = self._statement
        order = [(self._sort_key(key.operand, outputs), key.descending) for key in statement.order]
        found = list(self._matching())
        found.sort(key=lambda env: _order_of_first(env, statement.source.alias))
        for value_of, descending in reversed(order):
            found.sort(key=lambda env, of=value_of: sortable(of(env)), reverse=descending)  # type: ignore[misc]
        return found

    def _all_columns(self) -> tuple[Output, ...]:
        return tuple(
            Output(Column(alias, name), name)
            for alias, table in self._tables.items()
            for name in table.columns
        )

    def _sort_key(self, operand: Operand, outputs: Sequence[Output]) -> Eval:
        if isinstance(operand, Column) and operand.table is None:
            named = next((out.operand for out in outputs if out.name == operand.name), operand)
            return self._operand(named)
        return self._operand(operand)

    def _matching(self) -> Iterator[Env]:
        """Yield joined rows; what concerns the first table alone is asked before it is joined."""
        statement = self._statement
        first = statement.source.alias
        early: list[Test] = []
        late: list[Test] = []
        parts = conjuncts(statement.where)
        for part in parts:
            alone = self._aliases(part) <= {first}
            (early if alone else late).append(self._condition(part))
        joins = [self._join(join) for join in statement.joins]
        for row in self._tables[first].rows(self._account, self._first_lookup(parts)):
            env: Env = {first: row}
            if not all(test(env) for test in early):
                continue
            envs: list[Env] = [env]
            for join in joins:
                envs = [joined for left in envs for joined in join(left)]
            yield from (joined for joined in envs if all(test(joined) for test in late))

    def _first_lookup(self, parts: list[Condition]) -> Lookup | None:
        """Return how to find the first table's rows: by themselves, or by a table joined to it."""
        first = self._statement.source.alias
        table = self._tables[first]
        found = find_lookup(parts, first, table, self._alias_of)
        if found is not None:
            return found
        for join in self._statement.joins:
            alias = join.source.alias
            other = find_lookup(parts, alias, self._tables[alias], self._alias_of)
            if other is None or join.left:
                continue
            for part in conjuncts(join.on):
                pair = joined_columns(part, first, self._alias_of)
                if pair is None or pair[0].name not in table.finds:
                    continue
                if self._alias_of(pair[1]) == alias:
                    value_of = self._operand(pair[1])
                    rows = self._tables[alias].rows(self._account, other)
                    return pair[0].name, as_values(value_of({alias: row}) for row in rows)
        return None

    def _alias_of(self, column: Column) -> str:
        return self._resolve(column)[0]

    def _join(self, join: Join) -> Callable[[Env], list[Env]]:
        """Return what adds one table's rows to a row, through an index on an equality."""
        alias = join.source.alias
        tests = [self._condition(part) for part in conjuncts(join.on)]
        partners = self._partners(join)

        def add(env: Env) -> list[Env]:
            found: list[Env] = [{**env, alias: row} for row in partners(env)]
            found = [joined for joined in found if all(test(joined) for test in tests)]
            return found or ([{**env, alias: None}] if join.left else [])

        return add

    def _partners(self, join: Join) -> Callable[[Env], list[Row]]:
        """Return what finds the rows that a row may be joined to."""
        alias = join.source.alias
        table = self._tables[alias]
        for part in conjuncts(join.on):
            pair = joined_columns(part, alias, self._alias_of)
            if pair is not None and pair[0].name in table.finds:
                name, value_of = pair[0].name, self._operand(pair[1])
                return lambda env: table.rows(self._account, (name, as_values([value_of(env)])))
        rows = table.rows(self._account)
        probe, index = self._index(join, rows)
        if probe is None:
            return lambda _: rows
        return lambda env: index.get(probe(env), [])

    def _index(self, join: Join, rows: list[Row]) -> tuple[Eval | None, dict[Cell, list[Row]]]:
        alias = join.source.alias
        for part in conjuncts(join.on):
            if not isinstance(part, Compare) or part.operator != "=":
                continue
            for own, other in ((part.left, part.right), (part.right, part.left)):
                if self._operand_aliases(own) == {alias} and alias not in self._operand_aliases(
                    other
                ):
                    value_of = self._operand(own)
                    index: dict[Cell, list[Row]] = {}
                    for row in rows:
                        index.setdefault(value_of({alias: row}), []).append(row)
                    return self._operand(other), index
        return None, {}

    def _aliases(self, condition: Condition) -> set[str]:
        match condition:
            case Compare(left, _, right):
                return self._operand_aliases(left) | self._operand_aliases(right)
            case Member(left, options):
                return self._operand_aliases(left).union(*map(self._operand_aliases, options))
            case Like(left, pattern):
                return self._operand_aliases(left) | self._operand_aliases(pattern)
            case IsNull(left):
                return self._operand_aliases(left)
            case Not(part):
                return self._aliases(part)
            case AllOf(parts) | AnyOf(parts):
                return set[str]().union(*map(self._aliases, parts))

    def _operand_aliases(self, operand: Operand) -> set[str]:
        match operand:
            case Column():
                return {self._resolve(operand)[0]}
            case Call(_, args):
                return set[str]().union(*map(self._operand_aliases, args))
            case Literal():
                return set()

    def _resolve(self, column: Column) -> tuple[str, TableColumn]:
        if column.table is not None:
            table = self._tables.get(column.table)
            if table is None:
                known = ", ".join(f"{alias}={alias}" for alias in self._tables)
                raise errors.invalid_query(
                    f"Unknown identifier '{column.table}'. Available identifiers are: {{{known}}}"
                )
            candidates = {column.table: table}
        else:
            candidates = self._tables
        for alias, table in candidates.items():
            if column.name in table.columns:
                return alias, table.columns[column.name]
        record = next(iter(candidates))
        raise errors.invalid_query(
            f"Field '{column.name}' for record '{record}' was not found. Reason: NOT_EXPOSED"
        )

    def _operand(self, operand: Operand) -> Eval:
        match operand:
            case Literal(value):
                return lambda _: value
            case Column():
                alias, column = self._resolve(operand)
                return self._read(alias, column.get)
            case Call("builtin.df", (Column() as inner,)):
                alias, column = self._resolve(inner)
                return self._read(alias, column.display)
            case Call("builtin.cf", (Column() as inner,)):
                alias, column = self._resolve(inner)
                return self._read(alias, column.code or column.get)
            case Call("upper", (inner,)):
                value_of = self._operand(inner)
                return lambda env: upper(value_of(env))
            case Call("lower", (inner,)):
                value_of = self._operand(inner)
                return lambda env: lower(value_of(env))
            case Call("to_date", (Literal(str() as text), Literal("YYYY-MM-DD"))):
                day = iso_date(text)
                return lambda _: day
            case Call("to_date", (Literal(str() as text), Literal("YYYY-MM-DD HH24:MI:SS"))):
                point = moment(text)
                return lambda _: point
            case Call("to_char", (Column() as inner, Literal("YYYY-MM-DD HH24:MI:SS"))):
                value_of = self._operand(inner)
                return lambda env: moment_text(value_of(env))
            case _:
                raise errors.invalid_query(f"{UNSUPPORTED}.")

    def _read(self, alias: str, get: Callable[[Account, Row], Cell]) -> Eval:
        account = self._account

        def read(env: Env) -> Cell:
            row = env[alias]
            return None if row is None else get(account, row)

        return read

    def _condition(self, condition: Condition) -> Test:
        match condition:
            case Compare(left, operator, right):
                return comparison(self._operand(left), operator, self._operand(right))
            case Member(left, options):
                value_of = self._operand(left)
                if all(isinstance(item, Literal) for item in options):
                    return membership(
                        value_of, [i.value for i in options if isinstance(i, Literal)]
                    )
                tests = [comparison(value_of, "=", self._operand(item)) for item in options]
                return lambda env: any_of(test(env) for test in tests)
            case Like(left, pattern):
                return likeness(self._operand(left), self._operand(pattern))
            case IsNull(left):
                value_of = self._operand(left)
                return lambda env: value_of(env) is None
            case Not(part):
                inner = self._condition(part)
                return lambda env: opposite(inner(env))
            case AllOf(parts):
                every = [self._condition(part) for part in parts]
                return lambda env: opposite(any_of(opposite(test(env)) for test in every))
            case AnyOf(parts):
                some = [self._condition(part) for part in parts]
                return lambda env: any_of(test(env) for test in some)


def _find_table(source: Source) -> Table:
    table = TABLES.get(source.table)
    if table is None:
        raise errors.invalid_query(f"Record '{source.table}' was not found.")
    return table


def _order_of_first(env: Env, alias: str) -> int:
    row = env[alias]
    return 0 if row is None else int(row.record.id)
