"""Drivers: one package per kind of backend, all behind `driver.py`."""
