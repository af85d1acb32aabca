"""Forecasting of one series: reading it, the members, their blend, and what it says about rows to come."""
