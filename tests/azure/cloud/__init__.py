"""A loopback stand-in for the parts of Azure that the product uses.

It speaks to the real clients over TLS, keeps state, checks tokens and api-versions, executes command jobs, runs
deployments as real servers and fails on schedule. Shapes follow Microsoft's published REST examples; each handler names
its operation, and where a shape is uncertain the code says so. `stand_in.Cloud` is the whole; `wire` the dispatcher.
"""
