"""For `mkdocs.yml`: what pages say about files outside of docs/.

In the repository a page may link to `../examples/README.md`; on the site there is no such page. The link
there becomes the file's name, which a reader of the repository finds.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
OUTSIDE = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<path>(?:\.\./)+[\w./-]+)(?:#[\w-]+)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links that lead out of docs/ become names; those within, and broken ones, stay for mkdocs to judge."""
    directory = (ROOT / "docs" / page.file.src_uri).parent

    def name(link: re.Match[str]) -> str:
        target = (directory / link["path"]).resolve()
        if target.is_relative_to(ROOT / "docs") or not target.exists():
            return link[0]
        path = target.relative_to(ROOT).as_posix()
        return f"`{path}`" if link["text"].strip("`") in (path, target.name) else f"{link['text']} (`{path}`)"

    return OUTSIDE.sub(name, markdown)
