"""scripts/prose.py: what `make lint` finds in pages."""

from pathlib import Path

from scripts.prose import WORDS_AT_MOST, anchors, comments, dead_links, wrong_words

LONG = " ".join(["word"] * (WORDS_AT_MOST + 1))


def test_sentence_that_is_too_long_is_found_with_its_line_also_in_a_cell() -> None:
    page = f"# Title\n\nShort.\n{LONG}.\n\n| a | b |\n|---|---|\n| c | {LONG} |\n* d\n"

    assert [(line, text[:23]) for line, text in wrong_words(page)] == [
        (3, "a sentence has 31 words"),
        (8, "a sentence has 31 words"),
    ]


def test_code_rows_and_two_sentences_are_no_long_sentence() -> None:
    half = " ".join(["word"] * 16)

    assert not list(
        wrong_words(f"{half}. {half}.\n\n```\n{LONG} mend\n```\n\n`{LONG}`\n\n| {half} | {half} |\n")
    )


def test_private_word_is_found_with_what_to_say_instead() -> None:
    assert list(wrong_words("It is well.\n\nWhoever reads `mend`\nmends it.\n")) == [
        (3, '"mends": say fix or resolve'),
        (3, '"Whoever": say the name of who or what it is'),
    ]


def test_comments_of_a_manifest_are_read_with_their_lines() -> None:
    manifest = "# Whoever reads\n# this.\nkind: a # mend\nwhoever: b\nspec:\n  # mends it\n"

    assert comments(manifest) == "Whoever reads\nthis.\n\n\n\nmends it"
    assert [line for line, _ in wrong_words(comments(manifest))] == [1, 6]


def test_link_leads_to_a_file_and_a_heading(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# `Two` words, here\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md#two-words-here)\n[b](there.md#three) [c](gone.md)\n[d](#own)\n`[e](gone.md)`\n# Own\n"
    )

    assert list(dead_links(page)) == [(2, "there.md#three: no such heading"), (2, "gone.md is not there")]
    assert anchors(page.read_text()) == {"own"}
