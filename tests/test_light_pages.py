"""Pages are light, and their formulas are those of their sources."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


def load(path: str):
    """Return a module of the book's own extensions or tools."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


formulas = load("book/_ext/mathml.py")
mathml = formulas.mathml
light_pages = load("book/_ext/light_pages.py")
tidy = load("book/_ext/tidy.py")
weights = load("tools/weights.py")
MACROS = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"][
    "math_macros"
]


def shown(tex: str, display: bool = False) -> str:
    """Return a formula without the attributes that say nothing here."""
    text = mathml(tex, display, MACROS)
    text = re.sub(r' (alttext|display|stretchy|fence|accent)="[^"]*"', "", text)
    return text.removeprefix("<math><mrow>").removesuffix("</mrow></math>")


TIGHT = '<mo lspace="0" rspace="0">'


@pytest.mark.parametrize(
    "tex, there",
    [
        (".5", "<mn>.5</mn>"),
        (r"\Sigma", '<mi mathvariant="normal">Σ</mi>'),
        (r"\sigma", "<mi>σ</mi>"),
        (r"\E \mathcal O \mathbf 1", "<mi>𝔼</mi><mi>𝒪</mi><mn>𝟏</mn>"),
        (r"\mathbb R \mathcal L", "<mi>ℝ</mi><mi>ℒ</mi>"),
        (r"\mathrm{tr}", '<mi mathvariant="normal">tr</mi>'),
        (
            r"\tr\Sigma",
            '<mi>tr</mi><mspace width="0.167em"></mspace><mi mathvariant="normal">Σ</mi>',
        ),
        (r"\log(x)", f"<mi>log</mi>{TIGHT}(</mo><mi>x</mi>"),
        ("x = -1", f"<mi>x</mi><mo>=</mo>{TIGHT}−</mo><mn>1</mn>"),
        ("(a) - 1", ")</mo><mo>−</mo><mn>1</mn>"),
        (r"|a| - 1", "|</mo><mo>−</mo><mn>1</mn>"),
        ("x^{a-b}", f"<mrow><mi>a</mi>{TIGHT}−</mo><mi>b</mi></mrow>"),
        (r"\lvert x\rvert", f"{TIGHT}|</mo><mi>x</mi>{TIGHT}|</mo>"),
        ("a := b", "<mo>:=</mo>"),
        (r"a \sim b", '<mo lspace="0.278em" rspace="0.278em">∼</mo>'),
        (r"\hat x", "<mover><mi>x</mi><mo>ˆ</mo></mover>"),
        (
            r"\overline{ab}",
            '<mrow class="overline"><mrow><mi>a</mi><mi>b</mi></mrow></mrow>',
        ),
        ("f'", f"<mrow><mi>f</mi>{TIGHT}′</mo></mrow>"),
        ("1{,}000", f"<mn>1</mn><mrow>{TIGHT},</mo></mrow><mn>000</mn>"),
    ],
)
def test_a_formula_reads_as_in_print(tex, there):
    assert there in shown(tex)


def test_what_stands_at_a_maximum_goes_below_it_where_there_is_room():
    assert "<munder><mo" in shown(r"\arg\max_x f", True)
    assert "arg\u2009max" in shown(r"\arg\max_x f", True)


def test_a_bracket_with_an_exponent_keeps_its_size():
    # Chromium draws it small unless it stands in a row of its own
    assert '<msup><mrow><mo minsize="1.623em"' in shown(r"\Bigl(\frac ab\Bigr)^2")


def test_lines_are_aligned_at_their_signs():
    lines = shown(r"\begin{aligned} a &= b \\ &= c \end{aligned}", True)
    assert lines.count("<mtr>") == 2 and lines.count('columnalign="right"') == 2


def test_a_formula_carries_its_source_and_no_macro_is_left():
    text = mathml(r"\tr A < 1", False, {"tr": r"\operatorname{tr}"})
    assert 'alttext="\\tr A &lt; 1"' in text and "<mi>tr</mi>" in text


def test_a_comma_stays_on_the_line_of_its_formula():
    one, other = mathml("a", False), mathml("b", True)
    text = formulas.kept(f"<p>{one}, {one} and {other}.</p>")
    assert text == f'<p><span class="fl-kept">{one},</span> {one} and {other}.</p>'


def test_what_the_converter_does_not_know_is_an_error():
    with pytest.raises(ValueError, match="nonsense"):
        mathml(r"\nonsense x", False)


def test_every_formula_of_the_book_is_known():
    for page in (ROOT / "book").glob("*.md"):
        text = re.sub(
            r"```\{code-cell\}.*?\n```", "", page.read_text("utf-8"), flags=re.S
        )
        for tex in re.findall(r"(?<!\$)\$([^$\n]+)\$(?!\$)", text):
            mathml(tex, False, MACROS)


def test_a_figure_keeps_its_marks_in_fewer_letters():
    use = '<use xlink:href="#m0123456789" x="{}.123456" y="2.5" style="fill: #000"/>'
    marks = "\n".join(f"<g>\n{use.format(x)}\n</g>" for x in (1, 2))
    glyph = '<g transform="scale(0.015625)"/>'
    figure = f'<svg><metadata>x</metadata><path id="m0123456789"/>{marks}{glyph}</svg>'
    light = light_pages.light(figure)
    assert light == (
        '<svg><path id="m0"/><g style="fill: #000">'
        '<use xlink:href="#m0" x="1.12" y="2.5"/><use xlink:href="#m0" x="2.12" y="2.5"/></g>'
        f"{glyph}</svg>"
    )
    assert light_pages.light(light) == light


def test_the_points_of_a_figure_leave_its_picture():
    text = "panel,series\n1,a &lt; b\n"
    description = f"<dc:description>{text}</dc:description>"
    figure = f"<svg><metadata>{description}</metadata><g/></svg>"
    assert light_pages.points(figure) == "panel,series\n1,a < b\n"
    assert light_pages.points(light_pages.light(figure)) is None
    assert light_pages.points(figure.replace("panel,", "other,")) is None


def test_rules_of_the_icons_go_and_others_stay():
    sheet = (
        "a{color:red}.fa-x:before{content:'x'}.b .fa-x{margin:0}"
        "@font-face{font-family:Font Awesome\\ 6 Free;src:url(x.woff2)}i{margin:0}"
    )
    assert (
        light_pages.without_icons(sheet) == "a{color:red}.b .fa-x{margin:0}i{margin:0}"
    )


def test_no_file_of_ours_is_taken_away(tmp_path):
    ours = {path.name for path in (ROOT / "book" / "_static").iterdir()}
    static = tmp_path / "_static"
    static.mkdir()
    for name in ours:
        (static / name).touch()
    gone = {
        path.name for pattern in light_pages.UNUSED for path in tmp_path.glob(pattern)
    }
    assert not gone & ours


def test_a_page_weighs_what_a_browser_fetches(tmp_path):
    book = tmp_path / "book"
    book.mkdir()
    for name, size in (("f.woff", 1000), ("a.js", 100), ("p.svg", 10), ("not.pdf", 1)):
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "s.css").write_text('@font-face{src:url("f.woff")}')
    text = (
        '<link rel="stylesheet" href="../s.css?v=1"/><script src="../a.js"></script>'
        '<img src="../p.svg"/><a href="../not.pdf"></a><script>1</script>'
        '<link rel="next" href="../not.pdf"/>'
    )
    (book / "page.html").write_text(text)
    size = len(text) + (tmp_path / "s.css").stat().st_size + 1110
    assert weights.weights(tmp_path) == {"book/page.html": size}
    (book / "page.html").write_text(text + '<img src="gone.svg"/>')
    with pytest.raises(FileNotFoundError):
        weights.weights(tmp_path)


def kept(text: str) -> str:
    """Return a text that stays on one line."""
    return f'<span class="fl-kept">{text}</span>'


@pytest.mark.parametrize(
    "text",
    [
        "K-FAC",
        "L-BFGS",
        "0.02 ± 0.1",
        "3e-10",
        "[0.5, +2.0]",
        "1.2e-5 ± 3e-6",
        "p = 0.5",
    ],
)
def test_what_belongs_together_stays_on_a_line(text):
    page = f'<p title="{text}">a {text}.</p><script>"{text}"</script>{text}'
    whole = (
        f'<p title="{text}">a {kept(text)}.</p><script>"{text}"</script>{kept(text)}'
    )
    assert tidy.whole(page) == whole


def test_nothing_else_is_kept_together():
    page = "<p>a well-known X-ray of 3 and [a, b], 2.5 for 10 or 1e6 rows</p>"
    assert tidy.whole(page) == page


def test_a_formula_keeps_the_signs_around_it():
    formula = '<math alttext="x"><mi>x</mi></math>'
    page = f"of {formula} and ({formula}), {formula}."
    assert formulas.kept(page) == (
        f"of {formula} and {kept(f'({formula}),')} {kept(f'{formula}.')}"
    )


def test_an_id_is_broken_behind_its_signs():
    page = '<a id="claim-gram.initial_law" href="#x">gram.initial_law</a>'
    broken = tidy.CLAIM.sub(tidy.breakable, page)
    assert broken.endswith(">gram.<wbr>initial_<wbr>law</a>")
    assert 'id="claim-gram.initial_law"' in broken


def test_a_minus_is_one_outside_of_code():
    page = "<p>-1, (-2.5) and 3-4, a-5, 1e-6</p><pre>-1</pre><code>-2</code>"
    new = tidy.replaced(page, tidy.PROSE, tidy.MINUS, "−")
    assert new == "<p>−1, (−2.5) and 3-4, a-5, 1e-6</p><pre>-1</pre><code>-2</code>"


def test_a_sign_at_the_edge_of_a_formula_brings_no_space():
    assert 'rspace="0">=</mo>' in mathml("a =", False)
    assert 'lspace="0">&gt;</mo>' in mathml("> 0", False)
    assert "space" not in mathml("a = b", False)
