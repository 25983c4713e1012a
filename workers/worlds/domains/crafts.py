"""Machines, recipes and software."""

from workers.worlds.domains.schema import Domain, Relation
from workers.worlds.names import CAPITAL_ONSETS, MIDDLES, ONSETS, NamePattern, words
from workers.worlds.values import code, number, one_of, person, phrase, place

MACHINES = Domain(
    "machines",
    NamePattern(
        "the {}{}{} {}",
        (
            CAPITAL_ONSETS,
            MIDDLES,
            words("k x tt sk rn p z mm"),
            words("press winch loom pump lathe crane drill saw mixer kiln"),
        ),
    ),
    (
        Relation(
            "maker",
            phrase(
                "{} & {}",
                "Hask | Brandt | Moll | Ferris | Oakes | Tamm | Vry | Kest",
                "Sons | Daughters | Lund | Pike | Rowe | Stahl",
            ),
            ("maker", "manufacturer", "firm behind it"),
            ("Who makes {entity}?", "Which firm builds {entity}?"),
        ),
        Relation(
            "power",
            one_of(
                "steam | a water wheel | two horses | compressed air | a coil spring | gas | "
                "a pedal | diesel | wind | a battery"
            ),
            ("source of power", "drive", "supply of energy"),
            ("What drives {entity}?", "What does {entity} run on?"),
        ),
        Relation(
            "weight",
            number(20, 980, step=20, unit="kg"),
            ("weight", "mass when empty", "load on the floor"),
            ("How much does {entity} weigh?", "How heavy is {entity}?"),
        ),
        Relation(
            "serial",
            code("??-###"),
            ("serial code", "type number", "mark on the plate"),
            ("Which serial code is stamped on {entity}?", "What does the brass plate of {entity} say?"),
        ),
        Relation(
            "task",
            phrase(
                "{} {}",
                "sorting | crushing | drying | packing | rolling | washing | cutting | stacking",
                "gravel | barley | wool | tin sheets | apples | bricks | hemp | bottles",
            ),
            ("purpose", "job in the factory", "work it does"),
            ("What is {entity} for?", "What was {entity} designed to do?"),
        ),
    ),
)

RECIPES = Domain(
    "recipes",
    NamePattern(
        "{}{}{} {}",
        (
            CAPITAL_ONSETS,
            MIDDLES,
            words("ish ian er ese ic"),
            words("stew pudding broth pie dumplings cake loaf salad hotpot fritters pancakes porridge"),
        ),
    ),
    (
        Relation(
            "ingredient",
            one_of(
                "barley | mutton | turnips | eel | chestnuts | lentils | duck | beets | cabbage | "
                "pears | mussels | "
                "walnuts | carrots | rabbit | rye | leeks | quinces | oats"
            ),
            ("main ingredient", "chief component", "thing you need most of"),
            ("What is {entity} made from?", "What do you have to buy for {entity}?"),
        ),
        Relation(
            "time",
            number(10, 180, step=5, unit="minutes"),
            ("cooking time", "time on the fire", "minutes needed"),
            ("How long does {entity} cook?", "After how long is {entity} ready?"),
        ),
        Relation(
            "spice",
            one_of(
                "cumin | dill | saffron | mustard seed | thyme | ginger | caraway | sage | mace | "
                "anise | juniper | mint"
            ),
            ("spice", "seasoning", "secret flavour"),
            ("What is {entity} seasoned with?", "Which spice goes into {entity}?"),
        ),
        Relation(
            "inventor",
            person(),
            ("inventor", "author of the recipe", "cook who thought of it"),
            ("Who invented {entity}?", "Who first served {entity}?"),
        ),
        Relation(
            "side",
            phrase(
                "with {} {}",
                "warm | sour | salted | sweet | toasted | cold | fried | pickled",
                "bread | cream | cheese | plums | onions | butter | mushrooms | apples",
            ),
            ("usual accompaniment", "way of serving", "side on the plate"),
            ("How is {entity} served?", "What comes to the table along with {entity}?"),
        ),
    ),
)

SOFTWARE = Domain(
    "software",
    NamePattern(
        "{}{}{}",
        (ONSETS, MIDDLES, words("ctl pack base forge sync view mux db lint grid hub note")),
    ),
    (
        Relation(
            "command",
            phrase(
                "{} --{}",
                "fetch | build | prune | rotate | verify | import | dump | replay",
                "all | quiet | force | dry-run | since-boot | no-cache | deep | json",
            ),
            ("start command", "command line", "call in the manual"),
            ("How do you start {entity}?", "What do you type to run {entity}?"),
        ),
        Relation(
            "port",
            number(1024, 9999),
            ("default port", "network port", "port it listens on"),
            ("On which port does {entity} listen?", "Where do clients connect to {entity}?"),
        ),
        Relation(
            "maintainer",
            person(),
            ("maintainer", "lead developer", "person who merges patches"),
            ("Who maintains {entity}?", "Who do you write to when {entity} breaks?"),
        ),
        Relation(
            "setting",
            phrase(
                "{}.{}",
                "cache | log | net | disk | auth | queue | index",
                "max_size | timeout | level | path | retries | mode",
            ),
            ("most important setting", "key to change first", "option in the config file"),
            ("What should you set first in {entity}?", "Which setting makes {entity} faster?"),
        ),
        Relation(
            "licence",
            one_of(
                "Otter 2 | Open Quill | Sparrow 1.1 | Commons B | Free Loom | Harbour 3 | "
                "Plain Text | Two Keys"
            ),
            ("licence", "terms of use", "legal terms"),
            ("Under which licence is {entity} released?", "Which terms come with {entity}?"),
        ),
        Relation(
            "home",
            place("git.{}.example", "lab net soft"),
            ("home", "download address", "host of the source"),
            ("Where is the source of {entity}?", "From where do you download {entity}?"),
        ),
    ),
)
