"""One report about readers, as a page and as Markdown.

    runs, data --collect--> Facts --summary--> Document --page--> report.html
                                                         --markdown--> report.md

Mental model: `collect` asks the readers and measures; `Facts` is everything that was found, as numbers; `summary` puts
it into words, tables and pictures; the two writers only draw. Invariant: page and Markdown are drawn from one
`Document`, so they say the same; what could not be found is a `Missing` with its reason, never an empty place.
"""
