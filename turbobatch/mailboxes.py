"""The mailbox providers that people mistype: what a suggestion may name, and what never gets one.

How it was chosen: providers where private people have their mailboxes and that are in use world-wide or in one country
(freemail, then the large access providers), each by the domains that it hands out, or handed out to people who still
have them. A domain belongs here once real lists have many addresses there: the more there are, the likelier it is that
a domain one slip away from it is a slip. Company domains don't belong here.
"""

from __future__ import annotations

_AT_HOME = """
gmail: com
googlemail: com
hotmail: com co.uk fr it de es be nl se dk no fi at ch ca gr cl hu cz sg my ie com.br com.ar com.au com.tr com.mx co.jp
hotmail: co.th co.nz co.za co.il co.id
outlook: com fr de es it pt be cz dk hu ie in jp kr lv my ph sa sg sk cl at com.br com.ar com.au com.gr com.tr com.vn
outlook: co.id co.th co.il
live: com co.uk fr it de nl be ca se dk no at ie cl cn jp com.au com.mx com.ar com.pt com.my com.sg co.za co.kr
msn: com
passport: com
windowslive: com
yahoo: com fr it de es ca in gr ie no dk se ro pl nl be at cl cz fi hu pt co.uk co.in co.jp co.id co.nz co.th co.kr
yahoo: co.za co.il com.br com.ar com.mx com.au com.hk com.sg com.tw com.ph com.vn com.tr com.co com.pe com.ve com.cn
yahoo: com.my
ymail: com
rocketmail: com
aol: com co.uk de fr it es
aim: com
icloud: com
me: com
mac: com
gmx: de net com at ch fr us co.uk es info
web: de
mail: com ru de ee dk
email: com de it cz
protonmail: com ch
proton: me
pm: me
tutanota: com de
tuta: io com
zoho: com eu in
zohomail: com eu in
fastmail: com fm
hushmail: com
hey: com
mailbox: org
posteo: de net
startmail: com
duck: com
yandex: com ru ua by kz com.tr
ya: ru
inbox: com ru lv
bk: ru
list: ru
internet: ru
rambler: ru
ukr: net
seznam: cz
centrum: cz sk
azet: sk
wp: pl
onet: pl eu
interia: pl eu
gazeta: pl
freemail: hu
citromail: hu
abv: bg
t-online: de hu
freenet: de
arcor: de
vodafone: de it
online: de no
1und1: de
magenta: de
kabelmail: de
unitybox: de
a1: net
aon: at
chello: at nl
bluewin: ch
sunrise: ch
hispeed: ch
orange: fr es
wanadoo: fr es
free: fr
laposte: net
sfr: fr
neuf: fr
bbox: fr
numericable: fr
club-internet: fr
aliceadsl: fr
alice: it de
libero: it
virgilio: it
tiscali: it co.uk
tin: it
tim: it
telecomitalia: it
fastwebnet: it
iol: it pt
inwind: it
poste: it
pec: it
aruba: it
legalmail: it
telefonica: net
terra: es com.br
ono: com
movistar: es
sapo: pt
telenet: be
skynet: be
proximus: be
ziggo: nl
kpnmail: nl
planet: nl
home: nl se
xs4all: nl
hetnet: nl
casema: nl
telia: com
bredband: net
spray: se
comhem: se
tele2: se
broadpark: no
jubii: dk
tdcadsl: dk
elisanet: fi
kolumbus: fi
luukku: com
suomi24: fi
otenet: gr
eircom: net
btinternet: com
btopenworld: com
sky: com
talktalk: net
virginmedia: com
virgin: net
ntlworld: com
blueyonder: co.uk
plus: com
comcast: net
verizon: net
att: net
sbcglobal: net
bellsouth: net
cox: net
charter: net
spectrum: net
roadrunner: com
earthlink: net
juno: com
optonline: net
frontier: com
windstream: net
centurylink: net
rogers: com
shaw: ca
bell: net
sympatico: ca
telus: net
videotron: ca
bigpond: com net.au
optusnet: com.au
iinet: net.au
xtra: co.nz
uol: com.br
bol: com.br
ig: com.br
globo: com
globomail: com
oi: com.br
r7: com
prodigy: net.mx
rediffmail: com
sify: com
indiatimes: com
qq: com
163: com
126: com
yeah: net
sina: com cn
sohu: com
foxmail: com
aliyun: com
139: com
naver: com
daum: net
hanmail: net
nate: com
docomo: ne.jp
ezweb: ne.jp
au: com
softbank: ne.jp
nifty: com
biglobe: ne.jp
ocn: ne.jp
walla: co.il com
bezeqint: net
mynet: com
superonline: com
vodamail: co.za
webmail: co.za
mweb: co.za
telkomsa: net
"""

GENERIC = frozenset(
    {
        "alice", "arcor", "centrum", "charter", "chello", "duck", "email", "free", "frontier", "globo", "home", "inbox",
        "internet", "list", "live", "magenta", "mail", "mailbox", "mynet", "naver", "nifty", "onet", "online", "orange",
        "passport", "planet", "plus", "poste", "rambler", "rogers", "shaw", "spectrum", "spray", "sunrise", "telia",
        "tele2", "telus", "terra", "virgin", "walla", "webmail", "ymail",
    }
)  # fmt: skip
"""Names that are words or names of their own: a domain one letter away is as likely somebody else's."""

NEIGHBOURS = frozenset({"ariba.it", "gmail.ru", "grail.com", "liber.it", "libera.it", "liberi.it", "libro.it"})
"""Domains that look like a slip and are in use by others."""


ENDINGS = {
    wrong: right
    for right, slips in {
        "com": "con cmo ocm comm coom ccom vom xom cpm cim ckm clm cok c0m cmm conm comn comj como dcom kom",
        "net": "ner nte ent nett neet met nrt nwt",
        "org": "ogr rog orgg orf ort prg 0rg",
    }.items()
    for wrong in slips.split()
}
"""Endings that nobody has registered, and what each is a slip of."""

COUNTRIES = frozenset(
    """
    ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz ca cc cd cf
    cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gd ge gf gg
    gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn
    kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na
    nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh
    si sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve
    vg vi vn vu wf ws ye yt za zm zw
    cam bom bet pet vet new nec ntt ong com net org
    """.split()  # noqa: SIM905 - read as a list, written as a block
)
"""Endings that are in use: every country's (ISO 3166), and others that are a slip away from com, net or org."""


def _domains(text: str) -> tuple[str, ...]:
    lines = (line.partition(": ") for line in text.split("\n") if line)
    return tuple(dict.fromkeys(f"{name}.{suffix}" for name, _, suffixes in lines for suffix in suffixes.split()))


DOMAINS = _domains(_AT_HOME)
"""The providers' domains, each once, larger providers first."""
