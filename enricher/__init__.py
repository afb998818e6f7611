"""Flow meets policy: stopped flows in, counted matches out.

The hot path (`reading`, `endpoints`, `caching`, `explaining`, `matching`, `aggregation`) knows no
log and no clock. `loop` reads and writes the log; `app` puts the parts together.
"""
