"""Snowflake's errors of access control."""

from snowflake.connector.errors import ProgrammingError


def unknown(kind: str, name: str) -> ProgrammingError:
    """Return the error for an object that the role cannot see. It is the same as for a missing object."""
    shown = {"SCHEMA": "Schema", "DATABASE": "Database", "INTEGRATION": "Integration", "STAGE": "Stage"}
    return ProgrammingError(
        msg=f"SQL compilation error:\n{shown.get(kind, 'Object')} '{name}' does not exist or not authorized.",
        errno=2003,
        sqlstate="42S02" if kind in ("TABLE", "VIEW") else "02000",
    )


def insufficient(kind: str, name: str) -> ProgrammingError:
    """Return the error for an object that the role sees, without the privilege for this statement."""
    return ProgrammingError(
        msg=f"SQL access control error:\nInsufficient privileges to operate on {kind.lower()} '{name.split('.')[-1]}'.",
        errno=3001,
        sqlstate="42501",
    )


def role_not_assigned(role: str) -> ProgrammingError:
    """Return the error of USE ROLE with a role that the user does not have."""
    return ProgrammingError(
        msg=f"SQL access control error:\nRequested role '{role}' is not assigned to the executing user. "
        "Specify another role to activate.",
        errno=3013,
        sqlstate="42501",
    )


def no_warehouse() -> ProgrammingError:
    """Return the error of a query in a session without a usable warehouse."""
    return ProgrammingError(
        msg="No active warehouse selected in the current session.  Select an active warehouse with the "
        "'use warehouse' command.",
        errno=606,
        sqlstate="57P03",
    )


def exists(kind: str, name: str) -> ProgrammingError:
    """Return the error of CREATE for an object that exists."""
    return ProgrammingError(
        msg=f"SQL compilation error:\nObject '{name}' of type {kind} already exists.",
        errno=2002,
        sqlstate="42710",
    )


def invalid(message: str) -> ProgrammingError:
    """Return the error of a statement that Snowflake cannot compile."""
    return ProgrammingError(msg=f"SQL compilation error:\n{message}", errno=1420, sqlstate="22023")
