"""Pages of HTML that are one file each: they fetch nothing, and run no script but their own."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from aevb.errors import printable


def render(template: Path, filters: Mapping[str, Callable[..., Any]] | None = None, **variables: Any) -> str:
    """The page of a template `<name>.html.jinja` with the script `<name>.js` beside it.

    Texts are escaped. The page's security policy allows its own script, by its hash, and pictures within the page.
    """
    script = f"\n{template.with_name(template.name.replace('.html.jinja', '.js')).read_text()}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    folders = [template.parent, Path(__file__).parent]
    environment = Environment(loader=FileSystemLoader(folders), autoescape=True, trim_blocks=True)
    environment.filters |= filters or {}
    page = environment.get_template(template.name).render(**variables, script=script, digest=digest)
    return printable(page)
