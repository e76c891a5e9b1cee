"""Links of pages that are read in the repository and on the site."""

from pathlib import Path

import pytest
from docs_site.elsewhere import page_of, site_files
from docs_site.links import change_targets, for_site, site_path, targets


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small repository."""
    files = {
        "docs/index.md": "[e](../examples/README.md#run) [d](how/x.md) [r](results) ![p](images/p.png)",
        "docs/how/x.md": "[home](../index.md) [script](../../examples/a.py) [notes](../../examples/b.ipynb)",
        "docs/results/r.json": "{}",
        "docs/images/p.png": "",
        "examples/README.md": "# Examples\n\n[a](a.py) [folder](config) [up](../LICENSE) ![p](p.png)",
        "examples/a.py": "print(1)\n",
        "examples/config/c.yaml": "a: 1\n",
        "examples/p.png": "",
        "LICENSE": "MIT",
        "not_linked.py": "",
        "examples/b.ipynb": '{"cells": [{"cell_type": "markdown", "source": ["# N"]}, {"cell_type": "code", '
        '"source": ["1 + 1"], "outputs": [{"data": {"text/plain": ["2"]}}, {"data": {"image/png": "AAAA"}}]}]}',
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_what_looks_like_a_link_in_code_is_none() -> None:
    markdown = "[a](x.md) `[b](y.md)` ``[`](y.md)``\n\n```text\n[c](y.md)\n```\n\n[`d`](z.md)\n~~~\n[e](y.md)\n~~~\n"
    assert targets(markdown) == ["x.md", "z.md"]
    changed = markdown.replace("(x.md)", "(w.md)").replace("(z.md)", "(w.md)")
    assert change_targets(markdown, lambda _: "w.md") == changed


@pytest.mark.parametrize("target", ["https://a.org/b.md", "#here", "mailto:a@b.org", "/top", "//a.org"])
def test_addresses_and_anchors_are_left_alone(target: str) -> None:
    assert targets(f"[a]({target})") == []


def test_a_picture_in_a_link_and_html_are_links() -> None:
    markdown = '[![p](a.png)](b.md) <img alt="x" src="c.png"> <a href="d.md">'
    assert targets(markdown) == ["a.png", "b.md", "c.png", "d.md"]


def test_where_the_site_has_what_lies_elsewhere(root: Path) -> None:
    assert site_path(root, "docs/how/x.md") == "how/x.md"
    assert site_path(root, "examples/README.md") == site_path(root, "examples") == "repository/examples/README.md"
    assert site_path(root, "examples/a.py") == "repository/examples/a.py.md"
    assert site_path(root, "examples/p.png") == "repository/examples/p.png"
    assert site_path(root, "examples/config") == "repository/examples/config/index.md"
    assert site_path(root, "docs/results") == "repository/docs/results/index.md"


def test_links_lead_where_the_site_has_it(root: Path) -> None:
    def shown(page: str, at: str) -> list[str]:
        return targets(for_site(root, page, at, (root / page).read_text()))

    assert shown("docs/index.md", "index.md") == [
        "repository/examples/README.md#run",
        "how/x.md",
        "repository/docs/results/index.md",
        "images/p.png",
    ]
    assert shown("docs/how/x.md", "how/x.md")[1] == "../repository/examples/a.py.md"
    in_examples = shown("examples/README.md", "repository/examples/README.md")
    assert in_examples == ["a.py.md", "config/index.md", "../LICENSE.md", "p.png"]
    listed = page_of(root, "docs/results")
    assert targets(for_site(root, "docs/results/x", "repository/docs/results/index.md", listed)) == [
        "../../../results/r.json"
    ]


def test_a_wrong_link_stays_for_mkdocs_to_report(root: Path) -> None:
    assert for_site(root, "docs/index.md", "index.md", "[a](../gone.md)") == "[a](../gone.md)"


def test_pages_that_links_lead_to_are_followed(root: Path) -> None:
    found = site_files(root, ["docs/index.md", "docs/how/x.md"])
    assert set(found.values()) == {
        *("examples/README.md", "examples/a.py", "examples/b.ipynb", "examples/config", "examples/config/c.yaml"),
        *("examples/p.png", "LICENSE", "docs/results"),
    }
    assert all(site_path(root, source) == path for path, source in found.items())


def test_files_become_pages(root: Path) -> None:
    assert page_of(root, "examples/a.py") == "# a.py\n\n`examples/a.py`\n\n````python\nprint(1)\n````\n"
    assert "- [`c.yaml`](c.yaml)" in page_of(root, "examples/config")
    notebook = page_of(root, "examples/b.ipynb")
    assert notebook.startswith("# N\n\n````python\n1 + 1\n````\n\n````text\n2\n````\n\n<img ")
    assert 'src="data:image/png;base64,AAAA"' in notebook


def test_a_long_file_is_cut(root: Path) -> None:
    (root / "examples" / "a.py").write_text("x = 1\n" * 20_000)
    page = page_of(root, "examples/a.py")
    assert len(page) < 61_000 and page.endswith("The first 60,000 bytes.\n")
