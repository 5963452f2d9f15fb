"""The first pass: conversion of nodes to operations of the array on named values."""
