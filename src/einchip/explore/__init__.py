"""Search for machines and formats: which cost least in several ways at once.

space        what a file says to vary, and within which rules (`rules`)
point        one machine with one model in one format, and the content that names it
domain       all points of a space
evaluate     a point's cycles, energy, area and errors: a function of content alone
objectives   what of that is to be small
cache        results on disk, a file each
search       which points next: all, at random, by Optuna (`optuna_search`)
engine       who evaluates: processes on this computer, or a Dask cluster (`dask_engine`)
explorer     all of it together
pareto       which points no other one beats
results      what came out, as JSON, CSV and a table; `plot` draws it, `page` writes the docs' page
"""
