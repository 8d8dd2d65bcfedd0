"""HTML that cannot be broken by what is put into it: whatever is not `Html` already is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Html(str):
    """Text that is HTML."""

    __slots__ = ()


def html(template: str, *values: object, **named: object) -> Html:
    """A template of ours, its `{}` filled in: `Html` as it is, lists one after the other, None as nothing."""
    return Html(template.format(*map(_safe, values), **{name: _safe(value) for name, value in named.items()}))


def join(parts: Iterable[object]) -> Html:
    """Parts one after the other."""
    return Html("".join(map(_safe, parts)))


def table(caption: str, columns: Iterable[str], rows: Iterable[object]) -> Html:
    """A table that scrolls by itself where the window is narrow; caption: for those who cannot see it."""
    heads = [html('<th scope="col">{}</th>', name) for name in columns]
    return html(
        '<div class="wide"><table><caption class="hidden">{}</caption><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>",
        *(caption, heads, join(rows)),
    )


def _safe(value: object) -> str:
    if isinstance(value, Html):
        return value
    if value is None:
        return ""
    if isinstance(value, list):
        return join(value)
    return escape(str(value))
