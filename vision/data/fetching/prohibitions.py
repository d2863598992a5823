"""Words that forbid what an open licence allows: beside the address or the name of one, they contradict it.

People write them in any form and language, and a word too many costs a picture that can be looked at by hand, while one
too few makes an open picture of a closed one. So a clause with a negation and a word for commerce or change counts,
whatever stands between the two.
"""

from __future__ import annotations

import re

_NEGATIONS = (
    r"no|non|not|never|nor|neither|without|except\w*|exclud\w*|cannot|forbid\w*|prohibit\w*|\w+n['’]t|"
    r"kein\w*|nicht|nie|ohne|pas|sans|aucun\w*|sin|ni|não|nao|sem|senza|niet|geen|nie|bez|inte|ej|ikke|"
    r"не|нет|без|ні|немає|değil\w*"
)
_COMMERCE = (
    r"commer[cz]\w*|comer[cz]\w*|kommer[sz]\w*|komer[cčs]\w*|коммерч\w*|комерц\w*|ticari\w*|"
    r"for[ -]profit|sell(ing)?|sold|sale|resale"
)
_REFUSALS = (
    r"not|no|prohibited|forbidden|excluded|disallowed|requires?|needs?|restricted|verboten|untersagt|interdite?s?"
)
_CHANGES = r"deriv\w*|chang\w*|modif\w*|alter(ed|ations?)?|adapt\w*|remix\w*|bearbeit\w*|изменен\w*|змін\w*"
_COPIES = r"copy|copying|copied|reproduc\w*|redistribut\w*|republi\w*"
_PURPOSES = (
    r"research|editorial|private|personal|educational|education|academic|press|scientific|teaching|classroom|study|home|"
    r"evaluation|non\W*profit|charitable"
)

FORBIDS_COMMERCE = re.compile(
    rf"(?<![^\W_])(by)?nc(?![^\W_])|\bnon\W*commer|\bне\W*ком+ер|\b(nie|ne)\W*komer|\bnon\W*profit|\bnot for profit|"
    rf"\b({_NEGATIONS})\b[^.;\n]*\b({_COMMERCE})|\b({_COMMERCE})\b[^.;,\n]*\b({_REFUSALS})\b|"
    rf"\b({_PURPOSES})\b[\s\w,&+-]{{0,60}}?\b(use|usage|uses|purposes?|only|nutzung|zwecke)\b|"
    rf"\bonly\b[\s\w,&+-]{{0,30}}?\b({_PURPOSES})\b",
    re.I,
)
FORBIDS_CHANGES = re.compile(
    rf"(?<![^\W_])(by(nc)?)?nd(?![^\W_])|\bno\W*deriv|\b({_NEGATIONS})\b[^.;\n]*\b({_CHANGES})|"
    rf"\b({_CHANGES})\b[^.;,\n]*\b({_REFUSALS})\b",
    re.I,
)
NOT_FREE = re.compile(r"\bnon\W*free|\bnot\W+free\b|\bunfree|\bfair\W+(use|dealing)", re.I)
FORBIDS_ALL = re.compile(
    rf"{NOT_FREE.pattern}|\b({_NEGATIONS})\b[^.;,\n]*\b({_COPIES})\b|\b({_COPIES})\b[^.;,\n]*\b({_REFUSALS})\b|"
    r"\brights\W+managed|\brights\W+(are\W+)?reserved|\brecht(e|en)\W+(vorbehalten|voorbehouden)|"
    r"droits\W+(\w+\W+)?réservés|derechos\W+reservados|direitos\W+reservados|diritti\W+(sono\W+)?riservati|"
    r"права\W+защищ|права\W+застереж|права\W+захищ|prawa\W+zastrzeż|práva\W+vyhrazena|jogok?\W+fenntartva|"
    r"rättigheter\W+(är\W+)?förbehåll|hakları\W+saklı|kaikki\W+oikeudet|drepturile\W+rezervate|הזכויות\W+שמורות|"
    r"الحقوق\W+محفوظة|版权所有|版權所有|不許複製|無断転載|"
    r"\b(with|by|after|upon|needs?|requires?|ask\w*|without)\b[^.;\n]{0,40}\b(permission|consent|approval)\b|"
    r"\b(permission|licen[cs]e)\W+((is|was|must\W+be)\W+)?(needed|required|obtained)|\bmit\W+genehmigung|"
    r"\bс\W+разрешения|avec\W+(l['’])?autorisation",
    re.I,
)


def contradicts(text: str, licence: str) -> bool:
    """Whether a text forbids what a licence (an SPDX id) allows."""
    return bool(
        FORBIDS_ALL.search(text)
        or (FORBIDS_COMMERCE.search(text) and "-NC" not in licence)
        or (FORBIDS_CHANGES.search(text) and "-ND" not in licence)
    )
