"""Tests; their folders mirror the packages, `support` holds fakes and builders."""
