"""Boards that run Linux: registers and interrupt through UIO, memory from one of three
providers."""
