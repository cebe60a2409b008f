"""One profiling session on a device: started once, found again, followed, judged, brought home.

In: a Job. Out: the job's folder on this computer, or one line that says why not and what is kept.
"""
