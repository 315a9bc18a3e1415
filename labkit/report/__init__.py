"""Presentation of runs: words, tables, figures, the report page, comparisons.

words         a summary in words and small tables, the same for a notebook, a terminal and a page
terminal      the report in a terminal
html          the templates, and what they are filled with
result        the result that a notebook shows
page          report.html
compare       runs side by side, as data
compare_page  the same as a picture and a page
figures       plotly figures, their pictures for print, tables of numbers, the design tokens
"""
