"""Campaigns: lists of independent jobs, on one or many machines, with stored results."""

from sigbit.campaigns.campaign import Campaign, Outcome, Progress
from sigbit.campaigns.job import Job, Row, Tell
from sigbit.campaigns.store import Store
from sigbit.campaigns.workers import Workers, open_workers

__all__ = [
    "Campaign",
    "Job",
    "Outcome",
    "Progress",
    "Row",
    "Store",
    "Tell",
    "Workers",
    "open_workers",
]
