"""Tests of the azure platform: the real clients of Azure against a loopback stand-in of the services."""
