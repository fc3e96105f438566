"""The people of the company by office: the special ones, and the names of the others."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["APAC", "EU", "LATAM", "Office", "SpecialPerson"]


@dataclass(frozen=True, slots=True)
class SpecialPerson:
    """One special person. *groups* are indexes of the office's groups; *status* is the provider's (empty: active)."""

    given: str
    family: str
    email: str
    groups: tuple[int, ...] = (0,)
    status: str = ""
    individual: bool = False
    guest: bool = False
    aliases: tuple[str, ...] = ()
    display_name: str = ""
    state: int = 1
    has_mail: bool = True


@dataclass(frozen=True, slots=True)
class Office:
    """One office. *groups* are assigned to the application *app*, *unassigned_groups* are groups that are not."""

    app: str
    groups: tuple[str, ...]
    unassigned_groups: tuple[str, ...]
    people: tuple[SpecialPerson, ...]
    given: tuple[str, ...]
    family: tuple[str, ...]


LATAM = Office(
    app="Pigment LatAm",
    groups=("Pigment LatAm", "Pigment LatAm Finance", "Pigment LatAm Modelers"),
    unassigned_groups=("Staff LatAm", "Sales Brasil", "Ventas México"),
    people=(
        SpecialPerson("Ana", "Lima", "ana.lima@acme.com"),
        SpecialPerson("Beatriz", "Melo", "Beatriz.MELO@Acme.com"),
        SpecialPerson("Caio", "Fonseca", "caio.fonseca+planning@acme.com", (1,)),
        SpecialPerson("Davi", "Rocha", "davi.rocha@acme.com", status="SUSPENDED"),
        SpecialPerson("Elisa", "Prado", "elisa.prado@acme.com", (0, 1), status="DEPROVISIONED"),
        SpecialPerson("Felipe", "Neto", "felipe.neto@acme.com", (), individual=True),
        SpecialPerson("Gabriela", "Reis", "gabriela.reis@acme.com", (1,), individual=True),
        SpecialPerson("Heitor", "Álvares", "heitor.alvares@acme.com", (0, 1, 2)),
        SpecialPerson("Iara", "Campos", "iara.campos@acme.com", (2,), aliases=("iara@acme.com",)),
        SpecialPerson("João", "Novo", "joao.novo@acme.com", status="STAGED"),
        SpecialPerson("Kátia", "Brandão", "katia.brandao@acme.com", status="LOCKED_OUT"),
        SpecialPerson("Lázaro", "Ibáñez", "lazaro.ibanez@acme.com", status="PASSWORD_EXPIRED"),
        SpecialPerson("Maitê", "Quispe", "maite.quispe@acme.com", status="PROVISIONED"),
        SpecialPerson("Nélida", "Contreras", "nelida@example.com"),
        SpecialPerson("Otávio", "D'Ávila", "otavio.d'avila@acme.com", display_name="Otávio “Tavinho” D'Ávila"),
    ),
    given=(
        "Adriana", "Alejandra", "André", "Antônio", "Bruna", "Camila", "Cauã", "César", "Cláudia", "Débora", "Diego",
        "Eduardo", "Emília", "Fátima", "Fernanda", "Flávio", "Germán", "Gonçalo", "Héctor", "Inês", "Itzel", "Joaquín",
        "José", "Júlia", "Karina", "Leonor", "Letícia", "Lucía", "Luís", "Marcelo", "María José", "Martín", "Mônica",
        "Natália", "Nicolás", "Pâmela", "Raúl", "Renée", "Rocío", "Rômulo", "Sofía", "Tomás", "Valéria", "Vinícius",
        "Xóchitl", "Yago", "Zoé",
    ),
    family=(
        "Araújo", "Assunção", "Barão", "Cárdenas", "Carvalho", "Conceição", "Corrêa", "da Silva", "de la Cruz", "Díaz",
        "dos Santos", "Echeverría", "Falcão", "Fernández", "Gonçalves", "Guimarães", "Gutiérrez", "Hernández",
        "Iñiguez", "Jiménez", "Leão", "López", "Magalhães", "Martínez", "Muñoz", "Nuñez", "Oliveira", "Ordóñez", "Peña",
        "Pérez", "Ramírez", "Ribeiro", "Rodríguez", "Sánchez", "São João", "Souza", "Toledo", "Ureña", "Vásquez",
        "Yáñez", "Zúñiga",
    ),
)  # fmt: skip

EU = Office(
    app="Pigment EU",
    groups=("Pigment EU Finance", "Pigment EU Sales", "Pigment EU People", "Pigment EU Board"),
    unassigned_groups=("Staff EU", "Werk Köln", "Łódź"),
    people=(
        SpecialPerson("Åsa", "Lindström", "asa.lindstrom@acme.com"),
        SpecialPerson("Björn", "Müller-Lüdenscheidt", "bjorn.muller-ludenscheidt@acme.com", (0, 1)),
        SpecialPerson("Chloé", "O'Brien", "Chloe.OBrien@acme.com", (1,)),
        SpecialPerson(
            "Dimitra", "Παπαδοπούλου", "dimitra.papadopoulou@acme.com", (2,), display_name="Δήμητρα Παπαδοπούλου"
        ),
        SpecialPerson("Ewa", "Wiśniewska", "ewa.wisniewska@acme.com", (1,), status="disabled"),
        SpecialPerson("François", "Lefèvre", "francois.lefevre@acme.com", (), individual=True),
        SpecialPerson("Greta", "Sørensen", "greta.sorensen@acme.com", (0, 2, 3)),
        SpecialPerson("Hanne", "Østergård", "hanne.ostergard@acme.com", (1,), aliases=("hanne.holm@acme.com",)),
        SpecialPerson("Ines", "Kovačević", "ines.kovacevic+eu@acme.com", (2,)),
        SpecialPerson("Jan", "Gast", "jan.gast@example.com", (1,), guest=True),
        SpecialPerson("Conf Room", "", "room.koln@acme.com", (2,), display_name="Konferenzraum Köln", has_mail=False),
        SpecialPerson("Kazimierz", "Żółć", "kazimierz.zolc@acme.com", (3,), status="unknown"),
        SpecialPerson("Łucja", "Nowak", "lucja.nowak@acme.com", (0,), individual=True),
    ),
    given=(
        "Agnieszka", "Aoife", "Aurélie", "Başak", "Birgül", "Céline", "Dóra", "Eimear", "Elżbieta", "Eñaut", "Frédéric",
        "Gábor", "Gülşen", "Héloïse", "İlker", "Jürgen", "Jérôme", "Jiří", "Kateřina", "Käthe", "Liliána", "Loïc",
        "Małgorzata", "Márton", "Niamh", "Noël", "Ógan", "Ondřej", "Pål", "Raphaël", "Rasmus", "Sébastien", "Síle",
        "Şule", "Tõnu", "Tünde", "Urša", "Vítek", "Wiesława", "Yaël", "Zdeněk", "Zsófia", "Þóra",
    ),
    family=(
        "Ågren", "Bäcker", "Çelik", "Dvořák", "Dürr", "Économou", "Fröhlich", "Gärtner", "Größe", "Hübner", "Jäger",
        "Kłos", "Köhler", "Križan", "Lévy", "Löfgren", "Mäkinen", "Möller", "Nagy", "Ní Bhriain", "Novotný", "Öztürk",
        "Pérez-Reverte", "Petrović", "Quéré", "Rønning", "Saß", "Schäfer", "Straße", "Šimek", "Tóth", "Urbański",
        "Vögele", "Weiß", "Yıldız", "Zając", "Zöllner", "Þorsteinsson", "van 't Hof", "de Smet",
    ),
)  # fmt: skip

APAC = Office(
    app="Pigment APAC",
    groups=("Pigment APAC", "Pigment APAC Planners"),
    unassigned_groups=("Staff APAC", "Tokyo"),
    people=(
        SpecialPerson("陽子", "田中", "yoko.tanaka@acme.com"),
        SpecialPerson("Bảo", "Nguyễn Trần", "bao.nguyen@acme.com", (0, 1)),
        SpecialPerson("Chén", "李", "Chen.Li@acme.com", (1,)),
        SpecialPerson("Duy", "Đặng", "duy.dang@acme.com", status="2"),
        SpecialPerson("Eun-ji", "김", "eunji.kim+apac@acme.com", (1,)),
        SpecialPerson("Farrukh", "Siddiqui", "farrukh.siddiqui@acme.com", (), individual=True),
        SpecialPerson("Gita", "नायर", "gita.nair@acme.com", (0, 1)),
        SpecialPerson("Hiroshi", "山本", "hiroshi.yamamoto@acme.com", status="3"),
        SpecialPerson("Indra", "Wijaya", "indra.wijaya@acme.com", (1,), status="0"),
        SpecialPerson("Jun", "王", "jun.wang@acme.com", state=3),
        SpecialPerson("Kiri", "Ngāta", "kiri.ngata@acme.com", (1,)),
        SpecialPerson("ลลิตา", "ศรีสุข", "lalita.srisuk@acme.com", (1,)),
    ),
    given=(
        "Aiko", "Akira", "Aroha", "Bích", "Chi", "Đức", "Emi", "Haruto", "Hương", "Jiāyí", "Ji-woo", "Kavya", "Kenji",
        "Lakshmi", "Linh", "Māia", "Mei", "Minh", "Nadia", "Ngọc", "Ōta", "Phúc", "Priya", "Quỳnh", "Rāhul", "Ren",
        "Rina", "Sakura", "Seo-yeon", "Siti", "Thảo", "Tuấn", "Uyên", "Wiremu", "Xiǎo", "Yūki", "Zhāng",
    ),
    family=(
        "Abe", "Bùi", "Chàn", "Đỗ", "Fernando", "Gō", "Hoàng", "Itō", "Kāretu", "Kobayashi", "Lê", "Lý", "Matsumoto",
        "Mōri", "Ng", "Ngô", "Ōno", "Park", "Phạm", "Rāo", "Saitō", "Satō", "Sharma", "Takahashi", "Tamihana", "Trịnh",
        "Vũ", "Wāng", "Yáng", "Yoshida", "Zhào",
    ),
)  # fmt: skip
