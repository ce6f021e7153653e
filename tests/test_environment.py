"""The lists that say the same thing in two places say the same thing."""

import ast
import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRA = [
    Requirement(line)
    for lines in PROJECT["optional-dependencies"].values()
    for line in lines
]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [
    TOC["root"],
    *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]),
]


def names(requirements) -> set[str]:
    return {canonicalize_name(r.name) for r in requirements}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [
        Requirement(line) for line in lines if line.strip() and not line.startswith("#")
    ]
    return {canonicalize_name(r.name): next(iter(r.specifier)).version for r in found}


@pytest.mark.parametrize("requirement", NEEDED + EXTRA, ids=str)
def test_every_requirement_is_pinned_within_its_bounds(requirement):
    version = pins()[canonicalize_name(requirement.name)]
    assert version in requirement.specifier
    assert "+" not in version, "a local version is found nowhere else"


def test_jupyter_book_is_version_one():
    (book,) = [r for r in EXTRA if r.name == "jupyter-book"]
    assert "2.0.0" not in book.specifier and "1.0.4" in book.specifier


def test_conda_environment_is_in_step():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())[
        "dependencies"
    ]
    assert dependencies[0] == f"python{PROJECT['requires-python']}"
    assert (
        dependencies[-1] == {"pip": ["-e .[book,test,browser,zoo]"]}
        and dependencies[-2] == "pip"
    )
    conda_names = {"pytorch": "torch"}
    for entry in dependencies[1:-2]:
        assert canonicalize_name(conda_names.get(entry, entry)) in names(NEEDED + EXTRA)


def test_what_the_package_imports_is_what_it_asks_for():
    distributions = {
        "sklearn": "scikit-learn",
        "matplotlib_inline": "matplotlib-inline",
        "markdown_it": "markdown-it-py",
        "IPython": "ipython",
    }
    distributions |= {"pytorch_optimizer": "pytorch-optimizer"}
    imported = set()
    for path in (ROOT / "fl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.split(".")[0])
    imported -= set(sys.stdlib_module_names) | {
        "fl",
        "myst_nb",
    }  # myst_nb is there in a chapter's kernel only
    assert names([Requirement(distributions.get(i, i)) for i in imported]) <= names(
        NEEDED + EXTRA
    )


def test_table_of_contents_and_pages_are_the_same():
    assert len(PAGES) == len(set(PAGES))
    assert set(PAGES) == {f"book/{page.stem}" for page in (ROOT / "book").glob("*.md")}


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_one_title_and_sections(page):
    text = re.sub(r"```.*?```", "", (ROOT / f"{page}.md").read_text(), flags=re.DOTALL)
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1
    assert re.search(r"^## ", text, re.MULTILINE), "the theme's script needs a section"


def test_the_reference_of_the_package_is_complete():
    spec = importlib.util.spec_from_file_location("api", ROOT / "tools" / "api.py")
    api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(api)
    assert (ROOT / "book" / "api.md").read_text() == api.page(), (
        "run: python tools/api.py"
    )


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == PROJECT["version"]
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_readme_names_commands_that_exist():
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    for document in [
        "README.md",
        "CONTRIBUTING.md",
        "book/intro.md",
        "book/reproducing.md",
    ]:
        used = set(
            re.findall(
                r"(?:^|`)make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE
            )
        )
        assert used <= targets, document
