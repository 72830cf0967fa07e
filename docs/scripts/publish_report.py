"""Puts a comparison's report into docs/results/NAME, with its figures, and links it from docs/results.md.

python docs/scripts/publish_report.py OUT NAME
"""

import re
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1]
HEAD = "## Reports of comparisons"


def publish(out: Path, name: str, docs: Path = DOCS) -> Path:
    """Copies report.md and what it shows; a report of that name is replaced. Returns the page's path.

    Raises:
        ValueError: the name is no folder's, or a picture that the report shows is missing.
    """
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise ValueError(f"name is {name!r}, expected small letters, digits, - and _")
    text = (out / "report.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    missing = [one for one in pictures if not (out / one).is_file()]
    if missing:
        raise ValueError(f"{out} has no {', '.join(missing)}, which its report shows")
    folder = docs / "results" / name
    folder.mkdir(parents=True, exist_ok=True)
    for one in ("report.md", *pictures):
        shutil.copyfile(out / one, folder / one)
    page, question = docs / "results.md", text.partition("\n")[0].removeprefix("# ")
    results, link = page.read_text(encoding="utf-8"), f"(results/{name}/report.md)"
    if link not in results:
        head = "" if HEAD in results else f"\n{HEAD}\n\n"
        page.write_text(f"{results.rstrip()}\n{head}- [{question}]{link}\n", encoding="utf-8")
    return folder / "report.md"


if __name__ == "__main__":
    print(publish(Path(sys.argv[1]), sys.argv[2]))
