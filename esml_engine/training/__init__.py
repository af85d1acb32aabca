"""Training: automl, custom training, metrics, gates' rules, model files and their tracking.

`facts` and `gates` import nothing heavy; all else is for jobs, endpoints and the worker.
"""
