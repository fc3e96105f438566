"""The pretend company is the same for a seed, and a change to a person changes no other person."""

from __future__ import annotations

import pytest

from sandbox.company import AddressTaken, Company, CompanyError, NotFound, Person, generate_company


@pytest.fixture
def company() -> Company:
    return generate_company()


def groups(company: Company, person: Person) -> list[str]:
    return [group.name for group in company.groups_of(person) if not group.is_built_in]


def test_company_is_the_same_for_the_same_seed() -> None:
    assert repr(generate_company(5).directories) == repr(generate_company(5).directories)
    assert repr(generate_company(5).directories) != repr(generate_company(6).directories)


def test_company_stays_the_same_while_the_same_happens() -> None:
    one, other = generate_company(), generate_company()

    for each in (one, other):
        each.hire("okta", "Ada", "Lovelace", ["Pigment LatAm"])
        each.marry("ana.lima@acme.com", "Souza")

    assert repr(one.directories) == repr(other.directories)


def test_company_has_about_as_many_people_as_were_asked_for(company: Company) -> None:
    assert [len(directory.people) for directory in company.directories.values()] == [120, 122, 120]
    assert all(2 <= len(directory.pigment.groups) <= 4 for directory in company.directories.values())


def test_ids_are_shaped_like_the_providers(company: Company) -> None:
    assert all(len(key) == 20 and key.startswith("00u") for key in company.okta.people)
    assert all(len(key) == 36 for key in company.entra.people)
    assert all(key.isdigit() for key in company.onelogin.people)


def test_addresses_are_unique_in_a_directory_whatever_their_case(company: Company) -> None:
    for directory in company.directories.values():
        folded = [person.email.casefold() for person in directory.people.values()]
        assert len(folded) == len(set(folded))


def test_hired_person_is_active_and_in_their_groups(company: Company) -> None:
    person = company.hire("onelogin", "Ōki", "Satō", ["Pigment APAC"])

    assert (person.email, person.status) == ("oki.sato@acme.com", "1")
    assert [group.name for group in company.groups_of(person)] == ["Pigment APAC"]
    assert company.person("OKI.SATO@acme.com") is person
    assert company.person(person.id) is person


def test_address_that_is_taken_is_refused_and_nothing_changes(company: Company) -> None:
    before = repr(company.directories)

    with pytest.raises(AddressTaken):
        company.hire("okta", "Ana", "Lima", email="ANA.Lima@acme.com")

    assert repr(company.directories) == before


def test_namesakes_get_a_number(company: Company) -> None:
    assert company.hire("okta", "Ana", "Lima").email == "ana.lima1@acme.com"


def test_leaver_is_deactivated_and_in_no_group(company: Company) -> None:
    person = company.leave("gabriela.reis@acme.com")

    assert person.status == "DEPROVISIONED"
    assert groups(company, person) == []
    assert person.id not in company.okta.assignments(company.okta.pigment)


def test_deactivated_person_stays_in_their_groups(company: Company) -> None:
    person = company.deactivate("ana.lima@acme.com")

    assert person.status == "DEPROVISIONED"
    assert "Pigment LatAm" in {group.name for group in company.groups_of(person)}


def test_rehired_person_is_back_in_the_groups_they_left(company: Company) -> None:
    before = {group.name for group in company.groups_of("heitor.alvares@acme.com")}
    person = company.leave("heitor.alvares@acme.com")

    company.rehire(person)

    assert person.status == "ACTIVE"
    assert {group.name for group in company.groups_of(person)} == before


def test_rehired_person_can_join_other_groups(company: Company) -> None:
    person = company.leave("heitor.alvares@acme.com")

    company.rehire(person, ["Sales Brasil"])

    assert groups(company, person) == ["Sales Brasil"]


def test_suspended_person_keeps_their_groups_until_reinstated(company: Company) -> None:
    for address, suspended, active in (
        ("ana.lima@acme.com", "SUSPENDED", "ACTIVE"),
        ("asa.lindstrom@acme.com", "disabled", "enabled"),
        ("yoko.tanaka@acme.com", "2", "1"),
    ):
        person = company.suspend(address)
        assert (person.status, len(groups(company, person))) == (suspended, 1)
        assert company.reinstate(person).status == active


def test_marriage_changes_name_and_address_and_nothing_else(company: Company) -> None:
    person = company.person("ana.lima@acme.com")
    key, groups = person.id, company.groups_of(person)

    company.marry(person, "Souza")

    assert (person.id, person.family, person.email, person.mail) == (
        key,
        "Souza",
        "ana.souza@acme.com",
        "ana.souza@acme.com",
    )
    assert company.groups_of(person) == groups
    assert company.hire("okta", "Ana", "Lima").email == "ana.lima@acme.com"


def test_old_address_stays_an_alias_in_entra_alone(company: Company) -> None:
    assert company.marry("asa.lindstrom@acme.com", "Berg").aliases == ["asa.lindstrom@acme.com"]
    assert company.marry("ana.lima@acme.com", "Souza").aliases == []


def test_renamed_person_keeps_their_address(company: Company) -> None:
    person = company.rename("otavio.d'avila@acme.com", given="Otto")

    assert (person.email, person.display_name) == ("otavio.d'avila@acme.com", "Otto D'Ávila")


def test_two_people_can_swap_their_addresses(company: Company) -> None:
    ana, caio = company.person("ana.lima@acme.com"), company.person("caio.fonseca+planning@acme.com")

    company.swap_emails(ana, caio)

    assert (ana.email, caio.email) == ("caio.fonseca+planning@acme.com", "ana.lima@acme.com")
    assert company.person("ana.lima@acme.com") is caio


def test_deleted_person_frees_their_address(company: Company) -> None:
    ana = company.delete("ana.lima@acme.com")

    assert company.okta.deleted[ana.id] is ana
    assert company.hire("okta", "Ana", "Lima").id != ana.id


def test_moved_person_is_in_the_other_group_only(company: Company) -> None:
    person = company.move("ana.lima@acme.com", "Pigment LatAm", "Pigment LatAm Finance")

    assert groups(company, person) == ["Pigment LatAm Finance"]


def test_unassigned_group_keeps_its_people(company: Company) -> None:
    app = company.okta.pigment
    group = company.okta.group("Pigment LatAm")
    count = len(group.people)

    company.unassign_group(app, "Pigment LatAm")

    assert group.id not in app.groups
    assert len(group.people) == count


def test_individual_assignment_is_in_addition_to_groups(company: Company) -> None:
    person = company.hire("okta", "Ada", "Lovelace")

    company.assign_individually(person)
    assert company.okta.assignments(company.okta.pigment)[person.id] == []

    company.join(person, "Pigment LatAm")
    assert company.okta.assignments(company.okta.pigment)[person.id] == [company.okta.group("Pigment LatAm").id]

    company.unassign_individually(person)
    company.quit(person, "Pigment LatAm")
    assert person.id not in company.okta.assignments(company.okta.pigment)


def test_deleted_group_lingers_as_an_assignment_in_entra_alone(company: Company) -> None:
    okta = company.delete_group("okta", "Pigment LatAm")
    entra = company.delete_group("entra", "Pigment EU Board")

    assert okta.id not in company.okta.pigment.groups
    assert entra.id in company.entra.pigment.groups
    assert len(company.entra.assignments(company.entra.pigment)) > 0


@pytest.mark.parametrize(
    "attempt",
    [
        lambda company: company.person("nobody@acme.com"),
        lambda company: company.hire("ldap", "Ada", "Lovelace"),
        lambda company: company.hire("okta", "Ada", "Lovelace", ["No such group"]),
        lambda company: company.move("ana.lima@acme.com", "Sales Brasil", "Nowhere"),
        lambda company: company.move("ana.lima@acme.com", "Pigment LatAm Finance", "Pigment LatAm"),
        lambda company: company.unassign_group(company.okta.pigment, "Sales Brasil"),
        lambda company: company.unassign_individually("ana.lima@acme.com"),
        lambda company: company.swap_emails("ana.lima@acme.com", "asa.lindstrom@acme.com"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(company: Company, attempt: object) -> None:
    before = repr(company.directories)

    with pytest.raises(CompanyError):
        attempt(company)  # type: ignore[operator]  # one of the above

    assert repr(company.directories) == before


def test_unknown_group_is_reported_with_the_known_ones(company: Company) -> None:
    with pytest.raises(NotFound, match="Pigment LatAm Finance"):
        company.join("ana.lima@acme.com", "Finance")


def test_everyone_is_in_okta_built_in_group(company: Company) -> None:
    everyone = company.okta.group("Everyone")

    hired = company.hire("okta", "Ada", "Lovelace")
    company.leave("ana.lima@acme.com")
    deleted = company.delete("caio.fonseca+planning@acme.com")

    assert set(everyone.people) == set(company.okta.people)
    assert hired.id in everyone.people
    assert deleted.id not in everyone.people
