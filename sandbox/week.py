"""A week in the company: one of each kind of change to people, in each directory."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.company import Company

__all__ = ["simulate_week"]


def simulate_week(company: Company) -> Iterator[str]:
    """Make the changes, and yield a sentence about each."""
    yield from _simulate_latam(company)
    yield from _simulate_eu(company)
    yield from _simulate_apac(company)


def _simulate_latam(company: Company) -> Iterator[str]:
    hired = company.hire("okta", "Renata", "Falcão", ["Pigment LatAm", "Pigment LatAm Finance"])
    yield f"LatAm, Okta: {hired.display_name} joins Pigment LatAm and Pigment LatAm Finance."
    ana = company.marry("ana.lima@acme.com", "Souza")
    yield f"LatAm, Okta: Ana Lima marries and is {ana.display_name} <{ana.email}> now."
    left = company.leave("heitor.alvares@acme.com")
    yield f"LatAm, Okta: {left.display_name} leaves the company."
    back = company.reinstate("davi.rocha@acme.com")
    yield f"LatAm, Okta: {back.display_name}, who was suspended, is back."
    moved = company.move("katia.brandao@acme.com", "Pigment LatAm", "Pigment LatAm Modelers")
    yield f"LatAm, Okta: {moved.display_name} moves from Pigment LatAm to Pigment LatAm Modelers, and keeps her access."


def _simulate_eu(company: Company) -> Iterator[str]:
    hired = company.hire("entra", "Zoë", "van Dijk", ["Pigment EU People"])
    yield f"EU, Entra: {hired.display_name} joins Pigment EU People."
    married = company.marry("asa.lindstrom@acme.com", "Öberg")
    yield f"EU, Entra: Åsa Lindström marries and is {married.display_name} <{married.email}> now."
    suspended = company.suspend("ines.kovacevic+eu@acme.com")
    yield f"EU, Entra: {suspended.display_name} is suspended."
    left = company.quit("bjorn.muller-ludenscheidt@acme.com", "Pigment EU Finance")
    company.quit(left, "Pigment EU Sales")
    yield f"EU, Entra: {left.display_name} is taken off Pigment's groups and stays with the company."


def _simulate_apac(company: Company) -> Iterator[str]:
    hired = company.hire("onelogin", "Mei", "Tanaka-Wong", ["Pigment APAC"])
    yield f"APAC, OneLogin: {hired.display_name} joins Pigment APAC."
    renamed = company.rename("kiri.ngata@acme.com", given="Kiritopa")
    yield f"APAC, OneLogin: Kiri Ngāta is called {renamed.display_name} now."
    deleted = company.delete("lalita.srisuk@acme.com")
    yield f"APAC, OneLogin: {deleted.display_name} is deleted."
    back = company.reinstate("duy.dang@acme.com")
    yield f"APAC, OneLogin: {back.display_name}, who was suspended, is back."
