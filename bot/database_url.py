"""The address of the application's database, as operators write it; pure."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

POSTGRES, SQLITE = "postgresql+asyncpg", "sqlite+aiosqlite"
DRIVERS = {"postgres": POSTGRES, "postgresql": POSTGRES, POSTGRES: POSTGRES, "sqlite": SQLITE, SQLITE: SQLITE}


def with_driver(url: str) -> str:
    """The address with the driver that is used. Raises ValueError, which quotes nothing of it: a password is in it.

    Those who host databases hand out libpq's `sslmode`, which the driver calls `ssl`.
    """
    from sqlalchemy.engine import make_url  # which every command would else wait for
    from sqlalchemy.exc import ArgumentError

    scheme, _, rest = url.strip().partition("://")
    driver = DRIVERS.get(scheme.lower())
    if driver is None or not rest:
        raise ValueError("it must begin with postgresql:// or sqlite:///")
    person, at, place = rest.rpartition("@")
    place, mark, query = place.partition("?")
    if mark and driver == SQLITE:
        raise ValueError("a file takes no parameters after a question mark")
    if mark:
        query = urlencode([("ssl" if name == "sslmode" else name, value) for name, value in parse_qsl(query)], safe="/")
    address = f"{driver}://{person}{at}{place}{mark}{query}"
    try:
        make_url(address)
    except (ArgumentError, ValueError):
        raise ValueError("it is no address; a password's special characters are written as in %40") from None
    return address
