"""`make bench`: what stormfold costs, side by side with other ways in the same run, and the aims that it is
held to.

One command measures all parts or the named ones (`make bench PART=store`), and writes for each of them

| file | what |
|---|---|
| `docs/benchmarks/<part>.json` | what was measured, with machine, versions, commit and date |
| `docs/benchmarks/<part>-<plot>.svg` | its plots, drawn from that file alone |
| `docs/benchmarks.md` | the page over all parts, written from those files by `page.page`, a pure function; `make generate` writes it too |

A part is a module or a package of this package with a constant `PART` (`part.Part`), listed in `PARTS` of `parts.py`:

    def measure(say: Say) -> Measured:
        say("round 1 of 5")  # progress, for the person who waits
        return Measured(figures={"redis_us": 4.2}, tables=[Table(…)], plots=[Lines(…)], raw={…})

    PART = Part("store", "The storm store", ABOUT, aims=(Aim("redis_us", "Redis CPU a signal", "µs",
    at_most=5),), measure=measure)

`figures` are numbers by name, which the aims are held against: an aim is stated once, in its part, and judged
when the page is written, so that a changed aim needs no new run. `raw` is whatever a reader may want to
reckon with himself, such as the rounds of which `figures` has the medians. All of it must be JSON.

Whoever measures times interleaves the ways in rounds and gives medians and ratios: the machine is noisy and
other work shares it. All parts together take at most `part.LIMIT_SECONDS`.
"""  # noqa: E501
