"""The pretend company: its people in three directories, and what happens to them. Plain objects, no HTTP."""

from sandbox.company.company import Company
from sandbox.company.directory import AddressTaken, App, CompanyError, Directory, Group, NotFound
from sandbox.company.generate import DIRECTORIES, generate_company
from sandbox.company.person import Person

__all__ = [
    "DIRECTORIES",
    "AddressTaken",
    "App",
    "Company",
    "CompanyError",
    "Directory",
    "Group",
    "NotFound",
    "Person",
    "generate_company",
]
