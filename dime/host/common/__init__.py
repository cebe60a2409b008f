"""Numbers, words and waiting that every room uses: statistics, units, a command's progress."""
