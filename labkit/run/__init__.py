"""A run, from its begin to a whole run folder.

An experiment (`experiment`), or several of them as one (`trials`), or a notebook without a browser
(`notebook`). `folders` says where a run's folder is and makes a whole one of a run that was broken
off, and `finished` finds the runs that there are. `watchdog` heals what a killed run cannot.
"""
