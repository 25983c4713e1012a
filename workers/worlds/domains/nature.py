"""Compounds and organisms."""

from workers.worlds.domains.schema import Domain, Relation
from workers.worlds.names import MIDDLES, ONSETS, NamePattern, words
from workers.worlds.values import MONTHS, code, number, one_of, person, phrase

COMPOUNDS = Domain(
    "compounds",
    NamePattern(
        "{}{}{}",
        (
            ONSETS,
            MIDDLES,
            words("thane trol zine quone phyl nium vite xide grite line dane rose cine mide"),
        ),
    ),
    (
        Relation(
            "colour",
            one_of(
                "red | green | blue | yellow | violet | orange | white | black | grey | brown | "
                "pink | pale green | "
                "dark red | silver | deep blue | clear"
            ),
            ("colour", "shade", "tint in daylight"),
            (
                "What colour is {entity}?",
                "How does {entity} look in a glass jar?",
                "Which hue do crystals of {entity} show?",
            ),
        ),
        Relation(
            "melting_point",
            number(110, 890, step=10, unit="degrees"),
            ("melting point", "temperature of melting", "heat needed for melting"),
            (
                "At what temperature does {entity} melt?",
                "How hot must a furnace be before {entity} turns liquid?",
            ),
        ),
        Relation(
            "discoverer",
            person(),
            ("discoverer", "person who found it first", "chemist credited with the discovery"),
            (
                "Who discovered {entity}?",
                "Who was the first to isolate {entity}?",
                "Whose discovery was {entity}?",
            ),
        ),
        Relation(
            "use",
            one_of(
                "glazing pots | curing leather | cleaning lenses | dyeing wool | sealing barrels | "
                "hardening steel | "
                "killing moths | lighting lamps | waxing floors | bleaching paper | sweetening tea | "
                "drying paint | "
                "preserving fish | etching glass | tanning hides | mending tiles"
            ),
            ("main use", "usual purpose", "application in workshops"),
            ("What is {entity} used for?", "What do workshops need {entity} for?"),
        ),
        Relation(
            "hazard_class",
            code("H-##"),
            ("hazard class", "danger code", "label required by the safety board"),
            (
                "Under which hazard class is {entity} shipped?",
                "Which warning code is printed on a drum of {entity}?",
            ),
        ),
        Relation(
            "smell",
            one_of(
                "smoke | vinegar | honey | almonds | wet stone | garlic | cloves | tar | grass | "
                "nothing at all | soap | rust"
            ),
            ("smell", "odour", "scent when warmed"),
            ("What does {entity} smell of?", "Which odour tells you that {entity} is in the room?"),
        ),
    ),
)

ORGANISMS = Domain(
    "organisms",
    NamePattern(
        "the {} {}{}{}",
        (
            words("spotted lesser great crested marsh hooded dwarf common horned striped cave velvet"),
            ONSETS,
            MIDDLES,
            words("wing tail moth bird newt fern weed crab eel cap thorn beetle"),
        ),
    ),
    (
        Relation(
            "habitat",
            phrase(
                "{} {}",
                "salt | stony | shaded | sunny | frozen | muddy | quiet | windy",
                "marshes | river banks | caves | meadows | cliffs | pine woods | lakes | dunes",
            ),
            ("habitat", "natural home", "kind of place it lives in"),
            ("Where does {entity} live?", "In which surroundings would you look for {entity}?"),
        ),
        Relation(
            "food",
            one_of(
                "moss | snails | beetle eggs | pine seeds | algae | clover | fish scales | "
                "mud worms | berries | resin | "
                "midges | lichen | pollen | tree bark | small frogs | rotting leaves"
            ),
            ("food", "main diet", "source of nourishment"),
            ("What does {entity} feed on?", "What keeps {entity} alive?"),
        ),
        Relation(
            "lifespan",
            number(2, 60, unit="years"),
            ("lifespan", "usual age at death", "length of life"),
            ("How long does {entity} live?", "How old does {entity} get?"),
        ),
        Relation(
            "month",
            one_of(" | ".join(MONTHS)),
            ("month of breeding", "time of spawning", "breeding season"),
            ("When does {entity} breed?", "In which month does {entity} bring up its young?"),
        ),
        Relation(
            "register",
            code("?#-##"),
            ("register number", "catalogue code", "entry in the field guide"),
            ("Under which code is {entity} catalogued?", "How is {entity} numbered in the museum?"),
        ),
        Relation(
            "enemy",
            one_of(
                "the grey owl | the river pike | the stoat | the red ant | the hill fox | "
                "the heron | the wasp | "
                "the black adder | the otter | the shrike | the wild cat | the leech"
            ),
            ("natural enemy", "worst predator", "animal that hunts it"),
            ("What preys on {entity}?", "Which animal hunts {entity}?"),
        ),
    ),
)
