"""Concepts by kind, each a line of words that mean the same: the vocabulary of the paraphrase generator.

Who uses it: frames.py, which puts concepts into sentences.
Everything here was written for this project; nothing is taken from a data set.
Invariant: a word stands in one concept of its kind, so that two concepts never read alike.
"""


def concepts(text: str) -> tuple[tuple[str, ...], ...]:
    """One concept per line, its words separated by `|`."""
    return tuple(tuple(word.strip() for word in line.split("|")) for line in text.strip().splitlines())


PEOPLE = concepts("""
doctor|physician|medic
teacher|instructor|schoolteacher
lawyer|attorney|solicitor
child|kid|youngster
boss|manager|supervisor
farmer|grower|agricultural worker
writer|author|novelist
cook|chef
police officer|policeman|cop
soldier|trooper|serviceman
student|pupil|learner
friend|buddy|pal
neighbour|neighbor|person next door
thief|robber|burglar
customer|client|buyer
seller|vendor|salesman
singer|vocalist
painter|artist
scientist|researcher
driver|motorist
king|monarch|ruler
baby|infant|newborn
woman|lady
man|gentleman|guy
nurse|hospital attendant
engineer|technician
programmer|software developer|coder
judge|magistrate
musician|instrumentalist
athlete|sportsman
pilot|aviator
baker|bread maker
tourist|traveller|visitor
worker|employee|staff member
scholar|academic|professor
journalist|reporter
actor|film performer
sailor|seaman|mariner
librarian|keeper of the library
gardener|groundskeeper
plumber|pipe fitter
dentist|tooth doctor
priest|clergyman
president|head of state
old man|elderly man
grandmother|grandma|granny
mother|mom|mum
father|dad|daddy
brother|male sibling
sister|female sibling
""")

THINGS = concepts("""
car|automobile|motorcar
bicycle|bike|push bike
phone|telephone|handset
house|home|dwelling
boat|small ship
couch|sofa|settee
picture|image|illustration
television|tv|telly
jacket|coat
trousers|pants
shoes|footwear
gift|present
suitcase|luggage|travel bag
lamp|light fixture
rubbish bin|trash can|garbage can
garden|yard
kitchen|cooking room
computer|pc|desktop machine
laptop|notebook computer
refrigerator|fridge|icebox
letter|written message
newspaper|daily paper
book|volume
film|movie|motion picture
song|tune|melody
road|street
shop|store
window|glass pane
door|doorway
bridge|river crossing
ticket|entry pass
key|door opener
knife|blade
medicine|medication|drug
garage|car shed
bed|sleeping place
clock|timepiece
watch|wristwatch
table|desk
chair|seat
bottle|flask
map|street plan
camera|photo camera
guitar|six string instrument
piano|grand piano
ring|finger band
umbrella|rain cover
carpet|rug
mirror|looking glass
pencil|drawing pen
engine|motor
wheel|tyre
roof|house top
fence|railing
tree|oak
ladder|climbing frame
hammer|mallet
printer|printing machine
battery|power cell
wallet|purse
""")

ANIMALS = concepts("""
dog|hound|puppy
cat|kitty|feline
horse|pony
rabbit|bunny
cow|cattle
pig|hog|swine
chicken|hen
mouse|small rodent
wolf|wild canine
lion|king of the beasts
snake|serpent
frog|toad
bird|feathered animal
fish|water animal
donkey|ass of burden
bee|honey insect
elephant|giant with a trunk
monkey|ape
duck|water bird
sheep|lamb
tiger|striped big cat
spider|eight legged creature
owl|night bird
bear|grizzly
fox|vixen
""")

FOODS = concepts("""
potatoes|spuds
soup|broth
cake|gateau
biscuits|cookies
sweets|candy
chips|french fries
bread|loaf
pasta|noodles
meat|beef
vegetables|greens
ice cream|frozen dessert
coffee|espresso
tea|cup of tea
lemonade|soft drink
rice|grains
eggs|omelette
cheese|cheddar
apple pie|apple tart
salad|mixed leaves
pizza|margherita
sandwich|sub roll
pancakes|crepes
chocolate|cocoa bar
honey|bee syrup
breakfast|morning meal
dinner|evening meal
lunch|midday meal
wine|glass of red
beer|ale
milk|dairy drink
""")

# Base, third person, past, participle, -ing; words that mean the same in one concept.
ACTIONS = tuple(tuple(tuple(form.split("/")) for form in concept) for concept in concepts("""
repair/repairs/repaired/repaired/repairing|fix/fixes/fixed/fixed/fixing|mend/mends/mended/mended/mending
buy/buys/bought/bought/buying|purchase/purchases/purchased/purchased/purchasing
sell/sells/sold/sold/selling|offer for sale/offers for sale/offered for sale/offered for sale/offering for sale
find/finds/found/found/finding|discover/discovers/discovered/discovered/discovering|locate/locates/located/located/locating
lose/loses/lost/lost/losing|misplace/misplaces/misplaced/misplaced/misplacing
break/breaks/broke/broken/breaking|smash/smashes/smashed/smashed/smashing|damage/damages/damaged/damaged/damaging
clean/cleans/cleaned/cleaned/cleaning|wash/washes/washed/washed/washing|scrub/scrubs/scrubbed/scrubbed/scrubbing
steal/steals/stole/stolen/stealing|rob/robs/robbed/robbed/robbing|pinch/pinches/pinched/pinched/pinching
paint/paints/painted/painted/painting|colour/colours/coloured/coloured/colouring
move/moves/moved/moved/moving|shift/shifts/shifted/shifted/shifting|relocate/relocates/relocated/relocated/relocating
hide/hides/hid/hidden/hiding|conceal/conceals/concealed/concealed/concealing
choose/chooses/chose/chosen/choosing|pick/picks/picked/picked/picking|select/selects/selected/selected/selecting
build/builds/built/built/building|construct/constructs/constructed/constructed/constructing
borrow/borrows/borrowed/borrowed/borrowing|take on loan/takes on loan/took on loan/taken on loan/taking on loan
throw away/throws away/threw away/thrown away/throwing away|discard/discards/discarded/discarded/discarding|get rid of/gets rid of/got rid of/got rid of/getting rid of
look at/looks at/looked at/looked at/looking at|inspect/inspects/inspected/inspected/inspecting|examine/examines/examined/examined/examining
carry/carries/carried/carried/carrying|transport/transports/transported/transported/transporting
rent/rents/rented/rented/renting|lease/leases/leased/leased/leasing|hire/hires/hired/hired/hiring
describe/describes/described/described/describing|give an account of/gives an account of/gave an account of/given an account of/giving an account of
want/wants/wanted/wanted/wanting|desire/desires/desired/desired/desiring|wish for/wishes for/wished for/wished for/wishing for
like/likes/liked/liked/liking|enjoy/enjoys/enjoyed/enjoyed/enjoying|be fond of/is fond of/was fond of/been fond of/being fond of
dislike/dislikes/disliked/disliked/disliking|hate/hates/hated/hated/hating|detest/detests/detested/detested/detesting
remove/removes/removed/removed/removing|take away/takes away/took away/taken away/taking away
replace/replaces/replaced/replaced/replacing|swap out/swaps out/swapped out/swapped out/swapping out
measure/measures/measured/measured/measuring|take the size of/takes the size of/took the size of/taken the size of/taking the size of
"""))

PLACES = concepts("""
hospital|clinic
school|schoolhouse
airport|airfield
railway station|train station
supermarket|grocery store
restaurant|eatery|diner
park|public garden
museum|gallery
library|reading room
beach|seaside|shore
church|chapel
office|workplace
hotel|inn
cinema|movie theatre
bank|money house
pharmacy|chemist|drugstore
forest|woods|woodland
mountain|peak
lake|pond
factory|plant|works
prison|jail
farm|ranch
stadium|sports ground
harbour|port
city centre|downtown
petrol station|gas station
bakery|bread shop
post office|mail office
village|small settlement
basement|cellar
""")

QUALITIES = concepts("""
big|large|huge
small|little|tiny
fast|quick|rapid
slow|sluggish
happy|glad|cheerful
sad|unhappy|sorrowful
angry|furious|mad
expensive|costly|pricey
cheap|inexpensive|low priced
beautiful|pretty|lovely
ugly|hideous|unsightly
clever|smart|intelligent
stupid|foolish|silly
tired|exhausted|weary
hungry|starving
strong|powerful
weak|feeble
old|ancient|aged
new|brand new|recent
dangerous|risky|unsafe
safe|secure
difficult|hard|tricky
easy|simple|effortless
quiet|silent|noiseless
loud|noisy
cold|chilly|freezing
hot|boiling|scorching
rich|wealthy
poor|penniless
ill|sick|unwell
healthy|fit|in good shape
important|essential|crucial
strange|odd|weird
famous|well known|renowned
brave|courageous|fearless
afraid|scared|frightened
dirty|filthy|grimy
tidy|neat|orderly
friendly|kind|nice
rude|impolite
broken|out of order
empty|vacant
full|packed
boring|dull|tedious
funny|amusing|hilarious
""")

TOPICS = concepts("""
mathematics|maths|arithmetic
history|the past
biology|the study of life
physics|the science of matter
chemistry|the science of substances
astronomy|the stars and planets
cooking|preparing food
football|soccer
swimming|moving through water
music|songs and melodies
politics|government affairs
economics|money and markets
climate change|global warming
artificial intelligence|machine intelligence
space travel|flights to other planets
gardening|growing plants
health|wellbeing
education|schooling
fashion|clothing trends
religion|faith
law|legal matters
art|painting and sculpture
photography|taking pictures
programming|writing code
chess|the game with kings and pawns
yoga|stretching and breathing
war|armed conflict
poetry|verse
medicine|treating diseases
travel|journeys abroad
fishing|catching fish
sleep|resting at night
electricity|electric power
agriculture|farming
architecture|the design of buildings
psychology|the human mind
languages|foreign tongues
the weather|the forecast
taxes|duties paid to the state
employment|jobs and careers
""")

ILLS = concepts("""
headache|pain in the head
fever|high temperature
cough|coughing
broken leg|fractured leg
toothache|aching tooth
stomach ache|tummy pain
cold|runny nose
back pain|sore back
insomnia|trouble sleeping
allergy|hay fever
burn|burnt skin
flu|influenza
""")

TROUBLES = concepts("""
forgot my password|cannot remember my password|lost my login password
the server does not start|the server fails to launch|the server won't boot
the screen stays black|the display shows nothing|the monitor remains dark
the page loads slowly|the website takes ages to open|the site is very slow
the file cannot be opened|the document fails to open|the file won't open
the disk is full|there is no space left on the drive|storage has run out
the connection is refused|the connection was rejected|it cannot connect
the program crashes|the application quits unexpectedly|the app keeps crashing
the printer does not print|nothing comes out of the printer|printing does not work
my account is locked|i am locked out of my account|my account has been blocked
the payment failed|my payment was declined|the charge did not go through
the parcel has not arrived|my package is missing|the delivery never came
the battery drains quickly|the battery runs down fast|the battery does not last
there is no sound|the speakers are silent|i hear nothing from the speakers
the wifi keeps dropping|the wireless connection is unstable|i keep losing the internet
i was charged twice|the money was taken two times|there is a double charge
the update failed|the upgrade did not finish|updating ended with an error
the email bounced|my mail came back undelivered|the message could not be delivered
the memory runs out|it uses too much ram|it is out of memory
the key is invalid|the api key is not accepted|my token is refused
i want a refund|i would like my money back|please return my money
cancel my subscription|end my membership|stop my plan
change my address|update where i live|edit my delivery address
delete my account|remove my profile|close my account for good
track my order|see where my order is|follow my shipment
speak to a person|talk to a human|reach a member of staff
the model answers too slowly|tokens come very slowly|generation takes too long
the port is in use|another program holds the port|the address is already taken
the download stops|the download breaks off|fetching the file is interrupted
the test fails|the check does not pass|the test case is red
""")

TASKS = concepts("""
install the software|set up the program|put the application on my computer
bake a cake|make a cake in the oven
learn to swim|acquire the skill of swimming
lose weight|become slimmer|shed some pounds
save money|put money aside|spend less
write a letter|compose a letter
sort a list|put a list in order|order the items of a list
read a file|load the contents of a file
connect to the database|open a database connection
tie a knot|make a knot in a rope
change a tyre|replace a flat tire
plant a tree|put a tree into the ground
remove a stain|get a spot out of cloth
find a job|get hired|look for employment
book a flight|reserve a plane ticket
open a bank account|become a customer of a bank
stop smoking|give up cigarettes|quit tobacco
fall asleep faster|get to sleep quickly
train a dog|teach a dog to obey
boil an egg|cook an egg in water
draw a face|sketch a portrait
make friends|get to know people
start a business|found a company
grow tomatoes|raise tomato plants
learn a language|study a foreign tongue
back up my data|make a copy of my files
compile the code|build the program from source
convert units|change miles into kilometres
create a website|make a web page
calm down|relax|become less nervous
sharpen a knife|make a blade sharp
rename a branch|give a branch another name
split a string|cut a text into parts
reverse a list|turn a list around
parse json|read json text
delete a directory|remove a folder
encrypt a message|make a text secret
measure speed|find out how fast it is
start the server|launch the server|run the server
change the port|use a different port
""")

WEATHER = concepts("""
it is raining|rain is falling|it is pouring
it is snowing|snow is falling
the sun is shining|it is sunny
it is windy|a strong wind blows
it is foggy|there is thick mist
it is freezing|temperatures are below zero
it is very hot|there is a heat wave
there is a storm|thunder and lightning
""")

TIMES = concepts("""
today|this day
yesterday|the day before today
tomorrow|the day after today
in the morning|at dawn|early in the day
at night|after dark|late in the evening
last week|a week ago
next year|in a year
every day|daily|each day
once a week|weekly
at noon|at midday
soon|before long|shortly
long ago|in the distant past
last summer|in the summer before
on monday|at the start of the week
at the weekend|on saturday or sunday
""")
