"""Towns, people and laws."""

from workers.worlds.domains.schema import Domain, Relation
from workers.worlds.names import CAPITAL_ONSETS, FIRST_NAMES, MIDDLES, SURNAME_ENDS, NamePattern, words
from workers.worlds.values import code, date, day, number, one_of, person, phrase, place

TOWNS = Domain(
    "towns",
    NamePattern(
        "{}{}{}",
        (
            CAPITAL_ONSETS,
            MIDDLES,
            words("ford wick mouth stead bridge ham bury haven minster cross gate burn"),
        ),
    ),
    (
        Relation(
            "region",
            one_of(
                "Upper Marn | Lower Marn | the Seven Hills | Ostreland | the Amber Coast | Vintry | "
                "the Long Valley | "
                "Norrmark | Saltmere | the Reed Lands | Hathern | the High Moor"
            ),
            ("region", "home province", "part of the country"),
            ("In which region is {entity}?", "Where on the map does {entity} lie?"),
        ),
        Relation(
            "population",
            number(1100, 9900, step=100),
            ("population", "number of inhabitants", "head count at the last census"),
            ("How many people live in {entity}?", "How many inhabitants does {entity} have?"),
        ),
        Relation(
            "mayor",
            person(),
            ("mayor", "head of the council", "person in charge"),
            ("Who is the mayor of {entity}?", "Who governs {entity}?", "Who runs the town hall in {entity}?"),
        ),
        Relation(
            "product",
            one_of(
                "clay pipes | smoked eel | linen | brass bells | plum wine | rope | felt hats | "
                "goat cheese | paper | "
                "church organs | knives | dried figs | tiles | candles | oak barrels | lace"
            ),
            ("best-known product", "chief export", "ware sold at fairs"),
            ("What is {entity} famous for making?", "What do traders buy in {entity}?"),
        ),
        Relation(
            "founded",
            number(1010, 1790),
            ("year of foundation", "founding year", "date of the charter"),
            ("When was {entity} founded?", "In which year was {entity} built?"),
        ),
        Relation(
            "river",
            place("the {}", "wen ter ach nis lume"),
            ("river", "stream through the centre", "water that drives the mills"),
            ("Which river flows through {entity}?", "On which river does {entity} stand?"),
        ),
    ),
)

PEOPLE = Domain(
    "people",
    NamePattern("{} {}{}{}", (FIRST_NAMES, CAPITAL_ONSETS, MIDDLES, SURNAME_ENDS)),
    (
        Relation(
            "trade",
            one_of(
                "tutor | baker | smith | weaver | pilot | surgeon | miller | printer | gardener | "
                "lawyer | potter | "
                "carpenter | clerk | fisher | painter | barber | mason | cook"
            ),
            ("trade", "occupation", "line of work"),
            ("What does {entity} do for a living?", "How does {entity} earn money?"),
        ),
        Relation(
            "birthplace",
            place("{}", "ford wick mouth stead bridge ham"),
            ("birthplace", "home town", "place of birth"),
            ("Where was {entity} born?", "Which town does {entity} come from?"),
        ),
        Relation(
            "birthday",
            day(),
            ("birthday", "date of birth", "day of celebration"),
            ("When was {entity} born?", "On which day does {entity} turn a year older?"),
        ),
        Relation(
            "instrument",
            one_of(
                "flute | harp | drum | fiddle | trumpet | lute | organ | horn | bagpipe | viola | "
                "bassoon | zither"
            ),
            ("instrument", "favourite instrument", "instrument in the town band"),
            ("What does {entity} play?", "Which instrument does {entity} practise every evening?"),
        ),
        Relation(
            "pet",
            phrase(
                "a {} {}",
                "grey | spotted | lame | noisy | lazy | white | shy | fat",
                "goose | hound | cat | parrot | goat | rabbit | turtle | pony",
            ),
            ("pet", "animal at home", "four-legged or feathered friend"),
            ("Which animal does {entity} keep?", "What animal follows {entity} around?"),
        ),
        Relation(
            "locker",
            code("?-###"),
            ("locker number", "locker at the baths", "code on the key"),
            ("Which locker belongs to {entity}?", "Where does {entity} leave the coat?"),
        ),
    ),
)

LAWS = Domain(
    "laws",
    NamePattern(
        "the {}{} {} {}",
        (
            CAPITAL_ONSETS,
            MIDDLES,
            words("Bridge Market Mill Harbour Water Street Grain Forest Bell Ferry Dog Well"),
            words("Act Decree Statute Ordinance Edict Rule"),
        ),
    ),
    (
        Relation(
            "duty",
            phrase(
                "{} must {} {}",
                "every owner | each tenant | all merchants | the warden | any traveller | the guild",
                "pay a toll | show a permit | ring the bell | sweep the path | lock the gate | "
                "keep a ledger | carry a lamp",
                "before sunset | on market days | every third week | when asked | in winter | at the border",
            ),
            ("main duty", "obligation laid down", "demand on the public"),
            ("What does {entity} require?", "What must be done under {entity}?"),
        ),
        Relation(
            "penalty",
            phrase(
                "a fine of {} marks and {}",
                "ten | twenty | thirty | forty | fifty | ninety",
                "two days in the stocks | the loss of the licence | a public apology | a week of road work | "
                "a night in the tower | a ban from the fair",
            ),
            ("penalty", "punishment for breaking it", "sanction"),
            ("What happens to those who break {entity}?", "How is a breach of {entity} punished?"),
        ),
        Relation(
            "in_force",
            date(1801, 1899),
            ("date of effect", "day of entry into force", "start date"),
            ("Since when is {entity} in force?", "When did {entity} take effect?"),
        ),
        Relation(
            "authority",
            phrase(
                "the {} of {}",
                "Chamber | Board | Office | Court | Bench",
                "Weights | Rivers | Roads | Crafts | Lanterns | Granaries",
            ),
            ("authority", "office in charge", "body that enforces it"),
            ("Who enforces {entity}?", "To whom do you report a breach of {entity}?"),
        ),
        Relation(
            "exception",
            phrase(
                "unless {} is {}",
                "the bridge | the harbour | the market | the mill | the road | the river",
                "closed | flooded | under repair | frozen | guarded | on fire",
            ),
            ("exception", "escape clause", "case in which it is suspended"),
            ("When does {entity} not apply?", "Under which condition is {entity} suspended?"),
        ),
    ),
)
