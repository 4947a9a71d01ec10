"""The word pools and small facts of the chat generators.

Who uses it: the topic modules (people, world, skills, lampstand, plain_text).
Everything here was written for this project; nothing is taken from a data set.
Invariant: pools are tuples, so that a seed always gives the same dialogue.
"""

NAMES = tuple(
    """Ada Alan Alice Amir Amy Anna Anton Arthur Ben Bella Bob Boris Carla Carlos Cathy Chen Clara Daniel Dana David
    Diego Dora Edgar Elena Ella Emil Emma Erik Eva Felix Fiona Frank Freya Gina Grace Greta Hana Hannah Hans Harry
    Hugo Ida Igor Ines Ingrid Iris Isaac Ivan Jack James Jana Jane Jonas Julia Julian Kai Karl Kate Kim Lara Laura
    Leo Lena Liam Lila Lily Linda Lisa Louis Lucas Lucy Luna Mara Marco Maria Marie Mark Martha Martin Max Mia
    Milo Mina Mira Mona Nadia Nina Noah Nora Olga Oliver Omar Oscar Otto Pablo Paul Paula Pedro Peter Petra Pia
    Priya Quinn Ravi Rita Robert Rosa Rose Ruth Sam Sara Simon Sofia Sonja Stella Steve Sven Tara Theo Tim Tina
    Tom Uma Ursula Vera Victor Viola Walter Wendy Will Xenia Yara Yuki Yusuf Zara Zoe""".split()
)

JOBS = tuple(
    """gardener;teacher;baker;pirate;doctor;farmer;sailor;painter;pilot;cook;chef;singer;dancer;carpenter;librarian;
    nurse;tailor;miner;fisher;hunter;knight;wizard;witch;robot;king;queen;poet;writer;musician;astronaut;engineer;
    mechanic;plumber;judge;lawyer;detective;police officer;firefighter;scientist;historian;shepherd;blacksmith;
    weather reporter;travel guide;math tutor;music teacher;shop keeper;truck driver;beekeeper;clock maker;
    storyteller;coach;waiter;barber;dentist;actor;artist;explorer;inventor;tour guide;math teacher;cat;dog;dragon""".replace(
        "\n", ""
    )
    .replace("    ", "")
    .split(";")
)

TOWNS = tuple(
    """London Paris Rome Berlin Madrid Oslo Vienna Prague Lisbon Dublin Athens Cairo Tokyo Delhi Lima Boston Chicago
    Sydney Toronto Munich Hamburg Milan Venice Zurich Geneva Kyoto Seoul Bergen Porto Ghent Lyon Leeds""".split()
)

WORDS = tuple(
    """apple banana cherry lemon orange table chair house river mountain cloud window garden music paper pencil bottle
    candle lamp light bridge street forest ocean island flower grass stone silver golden purple yellow green blue
    red black white happy quiet gentle clever little big small fast slow warm cold bread butter cheese sugar salt
    water coffee tea milk honey cat dog horse mouse rabbit tiger lion bear wolf fox bird fish frog snake train
    boat plane wheel engine clock watch mirror basket blanket pillow kitchen school book story letter number
    winter summer spring autumn morning evening night moon star sun rain snow wind storm fire smoke hello world
    good thanks friend family mother father sister brother test code rust server model token python cactus velvet
    marble puzzle rocket magic spider button hammer ladder pepper tomato potato carrot onion garlic""".split()
)

COMMON_WORDS = tuple(
    """a all am and any are as ask at away back be been best better but by can cannot come could day did do does done
    down each eat end ever every find first for from full gave get give go going gone had has have he help her here
    him his home how i if in into is it its just keep know last let like live long look made make many may me more
    most much must my name never new next no not nothing now of off often on once one only or other our out over own
    people place please put read really right said same saw say see she should show so some soon still stop take tell
    than that the their them then there these they thing think this those time to today tomorrow together too try two
    under until up us use very want was way we well went were what when where which while who why will with without
    word work would write year yes yesterday you your today is works fine hello testing message answer question""".split()
)

SHORT_WORDS = tuple(
    """cat dog sun moon star tree book lamp fish bird frog milk bread apple house table chair water green black white
    happy music paper river stone cloud horse mouse tiger train clock light banana lemon orange garden window
    flower winter summer hello world friend school rabbit yellow red blue big small hat cup pen box key bus car
    door hand foot snow rain wind fire gold iron ship road king queen sugar salt pepper onion carrot potato""".split()
)

THINGS = tuple(
    """apples pears books coins eggs cakes pens balls cups cookies stamps flowers stones oranges lemons cards toys
    shirts hats keys""".split()
)

HOBBIES = tuple(
    """reading;swimming;chess;football;music;cooking;painting;hiking;dancing;fishing;tennis;singing;running;sailing;
    gardening;knitting;poetry;astronomy;cycling;skiing;old books;long walks;black tea;apple pie;jazz;trains;maps""".replace(
        "\n", ""
    )
    .replace("    ", "")
    .split(";")
)

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white", "grey")
ANIMALS = tuple(
    "cat dog horse cow pig sheep goat duck hen mouse rabbit lion tiger bear wolf fox elephant giraffe zebra monkey "
    "frog snake owl eagle whale shark".split()
)
FRUITS = ("apple", "banana", "cherry", "pear", "plum", "orange", "lemon", "grape", "peach", "mango", "kiwi", "melon")
VEGETABLES = ("carrot", "potato", "onion", "tomato", "cabbage", "bean", "pea", "spinach", "garlic", "leek", "pepper")
FOODS = ("bread", "pizza", "soup", "rice", "cheese", "cake", "pasta", "salad", "chocolate", "pancakes", "ice cream")
INSTRUMENTS = ("piano", "violin", "guitar", "flute", "drum", "trumpet", "harp", "cello")
PLANETS = ("Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune")
SEASONS = ("spring", "summer", "autumn", "winter")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
ORDINALS = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
)
NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
)

CAPITALS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Portugal": "Lisbon",
    "England": "London",
    "Ireland": "Dublin",
    "Scotland": "Edinburgh",
    "Norway": "Oslo",
    "Sweden": "Stockholm",
    "Finland": "Helsinki",
    "Denmark": "Copenhagen",
    "Iceland": "Reykjavik",
    "Poland": "Warsaw",
    "Austria": "Vienna",
    "Hungary": "Budapest",
    "Greece": "Athens",
    "Turkey": "Ankara",
    "Russia": "Moscow",
    "Ukraine": "Kyiv",
    "Belgium": "Brussels",
    "the Netherlands": "Amsterdam",
    "Switzerland": "Bern",
    "Romania": "Bucharest",
    "Bulgaria": "Sofia",
    "Serbia": "Belgrade",
    "Croatia": "Zagreb",
    "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "Morocco": "Rabat",
    "Ethiopia": "Addis Ababa",
    "Japan": "Tokyo",
    "China": "Beijing",
    "India": "New Delhi",
    "South Korea": "Seoul",
    "Thailand": "Bangkok",
    "Vietnam": "Hanoi",
    "Indonesia": "Jakarta",
    "Iran": "Tehran",
    "Iraq": "Baghdad",
    "Canada": "Ottawa",
    "the United States": "Washington",
    "Mexico": "Mexico City",
    "Cuba": "Havana",
    "Brazil": "Brasilia",
    "Argentina": "Buenos Aires",
    "Chile": "Santiago",
    "Peru": "Lima",
    "Colombia": "Bogota",
    "Australia": "Canberra",
    "New Zealand": "Wellington",
}

THING_COLOURS = {
    "grass": "green",
    "the sky": "blue",
    "snow": "white",
    "blood": "red",
    "a banana": "yellow",
    "coal": "black",
    "milk": "white",
    "a lemon": "yellow",
    "a carrot": "orange",
    "chocolate": "brown",
    "a frog": "green",
    "the sun": "yellow",
    "a tomato": "red",
    "a cherry": "red",
    "an elephant": "grey",
    "a pumpkin": "orange",
    "a leaf": "green",
    "the sea": "blue",
    "a crow": "black",
    "a flamingo": "pink",
    "a strawberry": "red",
    "a cucumber": "green",
    "salt": "white",
    "the night": "black",
    "a polar bear": "white",
    "a pig": "pink",
}
MIXES = {
    ("blue", "yellow"): "green",
    ("red", "yellow"): "orange",
    ("red", "blue"): "purple",
    ("red", "white"): "pink",
    ("black", "white"): "grey",
}
SOUNDS = {
    "cow": "moo",
    "dog": "woof",
    "cat": "meow",
    "duck": "quack",
    "sheep": "baa",
    "pig": "oink",
    "lion": "roar",
    "owl": "hoot",
    "horse": "neigh",
    "snake": "hiss",
    "frog": "croak",
    "mouse": "squeak",
    "bee": "buzz",
}
BABIES = {
    "cat": "kitten",
    "dog": "puppy",
    "cow": "calf",
    "horse": "foal",
    "sheep": "lamb",
    "duck": "duckling",
    "pig": "piglet",
    "lion": "cub",
    "bear": "cub",
    "hen": "chick",
    "frog": "tadpole",
    "goat": "kid",
}
LEGS = {
    "cat": 4,
    "dog": 4,
    "horse": 4,
    "cow": 4,
    "spider": 8,
    "duck": 2,
    "hen": 2,
    "bird": 2,
    "ant": 6,
    "bee": 6,
    "snake": 0,
    "fish": 0,
    "sheep": 4,
    "lion": 4,
    "pig": 4,
    "person": 2,
    "frog": 4,
    "goat": 4,
}
OPPOSITES = (
    ("hot", "cold"),
    ("big", "small"),
    ("up", "down"),
    ("left", "right"),
    ("day", "night"),
    ("black", "white"),
    ("happy", "sad"),
    ("fast", "slow"),
    ("open", "closed"),
    ("high", "low"),
    ("old", "young"),
    ("full", "empty"),
    ("rich", "poor"),
    ("hard", "soft"),
    ("wet", "dry"),
    ("light", "dark"),
    ("early", "late"),
    ("strong", "weak"),
    ("good", "bad"),
    ("yes", "no"),
    ("long", "short"),
    ("near", "far"),
    ("loud", "quiet"),
    ("clean", "dirty"),
    ("first", "last"),
    ("true", "false"),
    ("inside", "outside"),
    ("win", "lose"),
    ("buy", "sell"),
    ("begin", "end"),
)
GROUPS = {
    "animal": ANIMALS,
    "colour": COLOURS,
    "fruit": FRUITS,
    "vegetable": VEGETABLES,
    "instrument": INSTRUMENTS,
    "planet": PLANETS,
    "season": SEASONS,
    "day": DAYS,
    "month": MONTHS,
}
SIMPLE_FACTS = (
    ("is (fire|the sun|lava) hot", "Yes, {0} is hot."),
    ("is (ice|snow) cold", "Yes, {0} is cold."),
    ("is (fire|the sun|lava) cold", "No, {0} is hot."),
    ("is (ice|snow) hot", "No, {0} is cold."),
    ("is (water|rain|the sea) wet", "Yes, {0} is wet."),
    ("is (water|rain|the sea) dry", "No, {0} is wet."),
    ("can (birds|eagles|owls|bees|ducks) fly", "Yes, {0} can fly."),
    ("can (fish|ducks|whales|sharks|frogs) swim", "Yes, {0} can swim."),
    ("can (dogs|cats|cows|snakes|horses|pigs) fly", "No, {0} cannot fly."),
    ("do (cats|dogs|horses|cows|lions) have four legs", "Yes, {0} have four legs."),
    ("do (snakes|fish) have legs", "No, {0} have no legs."),
    ("do (cows|sheep|horses|goats) eat grass", "Yes, {0} eat grass."),
    ("is (a stone|iron|glass) soft", "No, {0} is hard."),
    ("is (a stone|iron|glass) hard", "Yes, {0} is hard."),
    ("is (an elephant|a whale) (big|large)", "Yes, {0} is big."),
    ("is (a mouse|an ant) (big|large)", "No, {0} is small."),
    ("is the earth (round|a planet)", "Yes, the earth is {0}."),
    ("is the earth flat", "No, the earth is round."),
    ("is (sugar|honey|cake) sweet", "Yes, {0} is sweet."),
    ("is (a lemon|vinegar) sour", "Yes, {0} is sour."),
)
