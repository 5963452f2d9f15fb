"""Boards that run Linux: registers and interrupt by UIO, memory by one of three providers."""
