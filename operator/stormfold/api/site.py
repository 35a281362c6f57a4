"""Addresses of the documentation in messages: where somebody who has to act reads what to do."""

SITE = "https://stormfold.dev/"
"""Where the site of docs/ is. mkdocs.yml has the same as `site_url`."""


def page(name: str, heading: str = "") -> str:
    """The address of a page, such as `install`, and of a heading on it."""
    return f"{SITE}{name}/" + (f"#{heading}" if heading else "")


def reason_page(reason: str) -> str:
    """The address of what the documentation says of a reason."""
    return page("reasons", reason)


def see(reason: str, message: str, *, most: int = 2000) -> str:
    """The message, of at most `most` characters, for somebody who has to act, and where to read what "
    "to do."""
    said = message[:most].rstrip()
    return f"{said}{'' if said.endswith('.') else '.'} See {reason_page(reason)}"
