"""The pretend company: its people in three directories, and what happens to them. Plain objects, no HTTP."""

from sandbox.company.company import Company
from sandbox.company.directory import App, CompanyError, Directory, Group, Taken, Unknown
from sandbox.company.founding import DIRECTORIES, founded
from sandbox.company.person import Person

__all__ = [
    "DIRECTORIES",
    "App",
    "Company",
    "CompanyError",
    "Directory",
    "Group",
    "Person",
    "Taken",
    "Unknown",
    "founded",
]
