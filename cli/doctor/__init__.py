"""`picket doctor`: looks at everything that the pipeline stands on, and says what to do next.

It only looks: nothing is created, changed or consumed. One module a thing that is looked at.
"""
