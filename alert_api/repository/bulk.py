"""Writing many rows in one round trip.

In PostgreSQL the rows travel as one JSON text and are unfolded there: one short statement whatever
the number of rows, so it is prepared once, and no value is quoted in Python. SQLite runs in this
process: a statement a row is as good.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pydantic_core
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from alert_api import tables

Row = Mapping[str, Any]


def insert(
    connection: sa.Connection,
    table: type[tables.Base],
    rows: Sequence[Row],
    *,
    on_conflict: Mapping[str, str] | None = None,
) -> None:
    """Insert rows of equal columns.

    `on_conflict` maps columns to what becomes of them where the primary key exists already: `new`,
    `add`, `least` or `greatest`. An empty one leaves the old row.
    """
    if not rows:
        return
    target = tables.of(table)
    names = list(rows[0])
    at_once = connection.dialect.name == "postgresql"
    if at_once:
        unfolded = _unfolded(target, names)
        make: Any = postgresql.insert(target).from_select(names, sa.select(unfolded))
    else:
        make = sqlite.insert(target).values({name: sa.bindparam(name) for name in names})
    statement: Any = make
    if on_conflict is not None:
        keys = [column.name for column in target.primary_key]
        statement = (
            make.on_conflict_do_update(
                index_elements=keys,
                set_={
                    name: _merged(how, target.c[name], make.excluded[name], at_once=at_once)
                    for name, how in on_conflict.items()
                },
            )
            if on_conflict
            else make.on_conflict_do_nothing(index_elements=keys)
        )
    connection.execute(statement, _folded(rows) if at_once else [dict(row) for row in rows])


def update(
    connection: sa.Connection, table: type[tables.Base], rows: Sequence[Row], *, key: str
) -> None:
    """Set all other columns of the rows whose `key` is given."""
    if not rows:
        return
    target = tables.of(table)
    names = list(rows[0])
    changed = [name for name in names if name != key]
    if connection.dialect.name == "postgresql":
        unfolded = _unfolded(target, names)
        statement = (
            sa.update(target)
            .where(target.c[key] == unfolded.c[key])
            .values({name: unfolded.c[name] for name in changed})
        )
        connection.execute(statement, _folded(rows))
        return
    statement = (
        sa.update(target)
        .where(target.c[key] == sa.bindparam(f"p_{key}"))
        .values({name: sa.bindparam(f"p_{name}") for name in changed})
    )
    connection.execute(statement, [{f"p_{name}": row[name] for name in names} for row in rows])


def among(connection: sa.Connection, column: Any, values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that the column is one of the values, however many."""
    if connection.dialect.name == "postgresql":
        array = sa.literal(list(values), postgresql.ARRAY(column.type))
        return column == sa.any_(array)  # type: ignore[no-any-return]
    return column.in_(values)  # type: ignore[no-any-return]


def _unfolded(target: sa.Table, names: Sequence[str]) -> sa.TableValuedAlias:
    columns = [sa.column(name, target.c[name].type) for name in names]
    rows = sa.func.json_to_recordset(
        sa.cast(sa.bindparam("p_rows", type_=sa.Text()), postgresql.JSON())
    )
    return rows.table_valued(*columns, name="rows").render_derived(with_types=True)


def _folded(rows: Sequence[Row]) -> dict[str, str]:
    return {"p_rows": pydantic_core.to_json(rows).decode()}


def _merged(how: str, old: Any, new: Any, *, at_once: bool) -> Any:
    if how == "new":
        return new
    if how == "add":
        return old + new
    # SQLite's min and max of two arguments are what others call least and greatest.
    least, greatest = (sa.func.least, sa.func.greatest) if at_once else (sa.func.min, sa.func.max)
    return {"least": least, "greatest": greatest}[how](old, new)
